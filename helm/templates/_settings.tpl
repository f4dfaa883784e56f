{{/* The dispatcher's environment, as YAML of name to text: what is set, and what the chart derives. */}}

{{- define "course-runner.settings" -}}
{{- $all := dict }}
{{- range $name, $value := .Values.settings }}
{{- $text := include "course-runner.text" $value }}
{{- if $text }}{{ $_ := set $all $name $text }}{{ end }}
{{- end }}
{{- range $name, $file := dict "PLATFORM_TOKENS_FILE" "tokens.yaml" "RCLONE_CONFIG" "rclone.conf" }}
{{- if and (include "course-runner.has" (list $ $name)) (not (get $all $name)) }}
{{- $_ := set $all $name (printf "/etc/course-runner/%s" $file) }}
{{- end }}
{{- end }}
{{- range $name, $value := include "course-runner.derived" . | fromJson }}
{{- if $value }}{{ $_ := set $all $name $value }}{{ end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{/* Whole numbers must not become 1e+06. */}}
{{- define "course-runner.text" -}}
{{- if kindIs "float64" . }}
{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else if not (kindIs "invalid" .) }}
{{- . }}
{{- end }}
{{- end }}

{{- define "course-runner.derived" -}}
{{- $job := .Values.job }}
{{- $derived := dict
  "EXECUTOR" "kubernetes"
  "HEALTH_PORT" "8080"
  "INSTANCE" .Release.Name
  "NAMESPACE" (include "course-runner.taskNamespace" .)
  "JOB_IMAGE" (include "course-runner.image" (dict "root" . "image" $job.image))
  "JOB_SERVICE_ACCOUNT" (include "course-runner.jobAccount" .)
  "JOB_SECRET" (include "course-runner.jobSecret" .)
  "JOB_SECRETS" (include "course-runner.jobSecrets" .)
  "JOB_CPU_REQUEST" (include "course-runner.text" (dig "requests" "cpu" "" $job.resources))
  "JOB_MEMORY_REQUEST" (include "course-runner.text" (dig "requests" "memory" "" $job.resources))
  "JOB_CPU_LIMIT" (include "course-runner.text" (dig "limits" "cpu" "" $job.resources))
  "JOB_MEMORY_LIMIT" (include "course-runner.text" (dig "limits" "memory" "" $job.resources))
  "IMAGE_PULL_SECRETS" (join "," .Values.image.pullSecrets)
  "JOB_PRIORITY_CLASS" (include "course-runner.jobPriority" .)
}}
{{- with $job.nodeSelector }}{{ $_ := set $derived "JOB_NODE_SELECTOR" (toJson .) }}{{ end }}
{{- with $job.tolerations }}{{ $_ := set $derived "JOB_TOLERATIONS" (toJson .) }}{{ end }}
{{- with include "course-runner.jobPod" . | fromJson }}{{ $_ := set $derived "JOB_POD" (toJson .) }}{{ end }}
{{- $derived | toJson }}
{{- end }}

{{- define "course-runner.jobPriority" -}}
{{- if .Values.job.priorityClassName }}
{{- .Values.job.priorityClassName }}
{{- else if .Values.priorityClass.create }}
{{- include "course-runner.clusterName" . }}
{{- end }}
{{- end }}

{{/* Additions to every run's pod. */}}
{{- define "course-runner.jobPod" -}}
{{- $job := .Values.job }}
{{- $all := dict
  "affinity" $job.affinity
  "topologySpreadConstraints" $job.topologySpreadConstraints
  "labels" (merge (dict) $job.podLabels .Values.commonLabels)
  "annotations" $job.podAnnotations
  "env" $job.extraEnv
  "envFrom" $job.extraEnvFrom
  "volumes" $job.extraVolumes
  "volumeMounts" $job.extraVolumeMounts
}}
{{- if ne .Values.image.pullPolicy "IfNotPresent" }}{{ $_ := set $all "imagePullPolicy" .Values.image.pullPolicy }}{{ end }}
{{- $given := dict }}
{{- range $name, $value := $all }}{{ if $value }}{{ $_ := set $given $name $value }}{{ end }}{{ end }}
{{- $given | toJson }}
{{- end }}
