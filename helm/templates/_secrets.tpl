{{/* Where secrets come from: the addresses of Redis, and the files of the runs. */}}

{{- define "course-runner.redisSecret" -}}
{{- default (printf "%s-redis" (include "course-runner.stem" .)) .Values.redis.existingSecret }}
{{- end }}

{{- define "course-runner.redisKey" -}}
{{- ternary .Values.redis.existingSecretKey "REDIS_URL" (not (empty .Values.redis.existingSecret)) }}
{{- end }}

{{/* The embedded server's password: the given one, the one it has, or a new one. */}}
{{- define "course-runner.redisPassword" -}}
{{- $known := dig "data" "password" "" (lookup "v1" "Secret" .Release.Namespace (include "course-runner.redisSecret" .) | default dict) }}
{{- if .Values.redis.password }}
{{- .Values.redis.password }}
{{- else if $known }}
{{- b64dec $known }}
{{- else }}
{{- randAlphaNum 32 }}
{{- end }}
{{- end }}

{{/* What the runs log in with: it follows from the password, and not the other way round. */}}
{{- define "course-runner.progressPassword" -}}
{{- printf "progress:%s" . | sha256sum | trunc 40 }}
{{- end }}

{{- define "course-runner.redisHost" -}}
{{- printf "%s-redis.%s.svc" (include "course-runner.stem" .) .Release.Namespace }}
{{- end }}

{{/* Secrets that are given as texts, as YAML of file to text; "" when there are none. */}}
{{- define "course-runner.givenSecrets" -}}
{{- $given := omit .Values.secrets "existingSecret" "from" "PLATFORM_TOKENS_FILE" "RCLONE_CONFIG" }}
{{- range $name, $text := $given }}
{{- if $text }}
{{ $name }}: {{ $text | b64enc }}
{{- end }}
{{- end }}
{{- with .Values.secrets.PLATFORM_TOKENS_FILE }}
tokens.yaml: {{ . | b64enc }}
{{- end }}
{{- with .Values.secrets.RCLONE_CONFIG }}
rclone.conf: {{ . | b64enc }}
{{- end }}
{{- end }}

{{/* Name of the Secret that is mounted whole, "" for none. */}}
{{- define "course-runner.jobSecret" -}}
{{- if .Values.secrets.existingSecret }}
{{- .Values.secrets.existingSecret }}
{{- else if include "course-runner.givenSecrets" . | trim }}
{{- printf "%s-job" (include "course-runner.stem" .) }}
{{- end }}
{{- end }}

{{/* The file that a secret becomes in a run's folder. */}}
{{- define "course-runner.fileOf" -}}
{{- get (dict "PLATFORM_TOKENS_FILE" "tokens.yaml" "RCLONE_CONFIG" "rclone.conf") . | default . }}
{{- end }}

{{/* The other Secrets and their keys, as JSON for JOB_SECRETS; "" for none. */}}
{{- define "course-runner.jobSecrets" -}}
{{- $sources := list }}
{{- if .Values.progress.enabled }}
{{- $progress := include "course-runner.progressSource" . | fromJson }}
{{- $sources = append $sources (dict "name" $progress.name "items" (dict $progress.key "PROGRESS_REDIS_URL")) }}
{{- end }}
{{- range .Values.secrets.from }}
{{- $sources = append $sources (dict "name" .secret "items" (dict .key (include "course-runner.fileOf" .as))) }}
{{- end }}
{{- if $sources }}{{ $sources | toJson }}{{ end }}
{{- end }}

{{- define "course-runner.progressSource" -}}
{{- if .Values.redis.existingSecret }}
{{- dict "name" .Values.redis.existingSecret "key" .Values.redis.existingSecretProgressKey | toJson }}
{{- else }}
{{- dict "name" (printf "%s-progress" (include "course-runner.stem" .)) "key" "PROGRESS_REDIS_URL" | toJson }}
{{- end }}
{{- end }}

{{/* Whether a secret is known to be given, by text or by reference; call with (list $ "NAME"). */}}
{{- define "course-runner.has" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- if get $root.Values.secrets $name }}yes{{ end }}
{{- range $root.Values.secrets.from }}{{ if eq .as $name }}yes{{ end }}{{ end }}
{{- end }}
