{{/* Contradictions that the schema cannot see; each message says what to change. */}}

{{- define "course-runner.guards" -}}
{{- $redis := .Values.redis }}
{{- if and $redis.embedded $redis.url }}
{{- fail "redis.url is set, so the embedded server would stand idle: set redis.embedded=false, or leave redis.url empty." }}
{{- end }}
{{- if not (or $redis.embedded $redis.url $redis.existingSecret) }}
{{- fail "redis.embedded is false and no other server is named: set redis.url or redis.existingSecret." }}
{{- end }}
{{- if and $redis.existingSecret (or $redis.url $redis.progressUrl $redis.password) }}
{{- fail "redis.existingSecret holds the addresses: leave redis.url, redis.progressUrl and redis.password empty." }}
{{- end }}
{{- if and $redis.password (not $redis.embedded) }}
{{- fail "redis.password is the embedded server's: put your own server's password into redis.url." }}
{{- end }}
{{- if and .Values.secrets.existingSecret (include "course-runner.givenSecrets" . | trim) }}
{{- fail "secrets.existingSecret is set: put the other secrets into that Secret, or name theirs in secrets.from." }}
{{- end }}
{{- $seen := dict }}
{{- range .Values.secrets.from }}
{{- if or (hasKey $seen .as) (get $.Values.secrets .as) }}
{{- fail (printf "%s is given twice: keep one of secrets.%s and the entries of secrets.from." .as .as) }}
{{- end }}
{{- $_ := set $seen .as true }}
{{- end }}
{{- if and .Values.settings.WEBHOOK_URL (not .Values.secrets.existingSecret) (not (include "course-runner.has" (list . "API_SECRET_KEY"))) (not (include "course-runner.has" (list . "WEBHOOK_SIGNING_KEY"))) }}
{{- fail "settings.WEBHOOK_URL is set, but nothing to sign with: set secrets.API_SECRET_KEY or secrets.WEBHOOK_SIGNING_KEY, or name them in secrets.from or secrets.existingSecret." }}
{{- end }}
{{- if and .Values.job.priorityClassName .Values.priorityClass.create }}
{{- fail "job.priorityClassName names a class and priorityClass.create makes another: keep one of them." }}
{{- end }}
{{- if and .Values.resourceQuota.enabled (empty .Values.resourceQuota.hard) }}
{{- fail "resourceQuota.enabled is true, but resourceQuota.hard limits nothing: give it limits." }}
{{- end }}
{{- include "course-runner.guardEnv" . }}
{{- include "course-runner.guardOwn" (list "extraVolumes" "name" .Values.dispatcher.extraVolumes "settings" "tmp") }}
{{- include "course-runner.guardOwn" (list "extraVolumeMounts" "mountPath" .Values.dispatcher.extraVolumeMounts "/etc/course-runner" "/tmp") }}
{{- end }}

{{/* The same of the dispatcher's volumes and mounts; call with (list value key entries ours…). */}}
{{- define "course-runner.guardOwn" -}}
{{- $value := index . 0 }}
{{- $key := index . 1 }}
{{- $ours := slice . 3 }}
{{- $seen := list }}
{{- range index . 2 }}
{{- $name := get . $key | toString | trimSuffix "/" }}
{{- if has $name $ours }}
{{- fail (printf "dispatcher.%s may not have the %s %s: the chart uses it; choose another." $value $key $name) }}
{{- end }}
{{- if has $name $seen }}
{{- fail (printf "dispatcher.%s has the %s %s twice: keep one." $value $key $name) }}
{{- end }}
{{- $seen = append $seen $name }}
{{- end }}
{{- end }}

{{/* The same name twice in a container is an error under server-side apply, and a riddle anyway. */}}
{{- define "course-runner.guardEnv" -}}
{{- $ours := merge (dict "SETTINGS_DIR" "" "HOME" "" "REDIS_URL" "") (include "course-runner.settings" . | fromYaml) .Values.settings }}
{{- $seen := dict }}
{{- range .Values.dispatcher.extraEnv }}
{{- if hasKey $ours .name }}
{{- fail (printf "dispatcher.extraEnv may not set %s: the chart does; see settings, secrets, redis and job." .name) }}
{{- end }}
{{- if hasKey $seen .name }}
{{- fail (printf "dispatcher.extraEnv sets %s twice: keep one." .name) }}
{{- end }}
{{- $_ := set $seen .name true }}
{{- end }}
{{- end }}
