{{/* Names and labels. Every object's name is the stem and what it is for; the stem is cut at 42
     characters, so that no name made from it exceeds 63, nor a Job's or a StatefulSet's 52. */}}

{{- define "course-runner.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 42 | trimSuffix "-" }}
{{- end }}

{{- define "course-runner.stem" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 42 | trimSuffix "-" }}
{{- else }}
{{- $name := include "course-runner.name" . }}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- /* Two long release names must not be cut to one and the same stem. */}}
{{- if gt (len $whole) 42 }}
{{- printf "%s-%s" (trunc 33 $whole | trimSuffix "-") (sha256sum $whole | trunc 8) }}
{{- else }}
{{- $whole }}
{{- end }}
{{- end }}
{{- end }}

{{- define "course-runner.taskNamespace" -}}
{{- default .Release.Namespace .Values.taskNamespace }}
{{- end }}

{{- define "course-runner.dispatcherAccount" -}}
{{- if .Values.dispatcher.serviceAccount.create }}
{{- default (printf "%s-dispatcher" (include "course-runner.stem" .)) .Values.dispatcher.serviceAccount.name }}
{{- else }}
{{- required "dispatcher.serviceAccount.name must name an account, for dispatcher.serviceAccount.create is false." .Values.dispatcher.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "course-runner.jobAccount" -}}
{{- if .Values.job.serviceAccount.create }}
{{- default (printf "%s-job" (include "course-runner.stem" .)) .Values.job.serviceAccount.name }}
{{- else }}
{{- required "job.serviceAccount.name must name an account, for job.serviceAccount.create is false." .Values.job.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Name of a cluster-wide object: the namespace is in it, so that no two releases share one. */}}
{{- define "course-runner.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "course-runner.stem" .) }}
{{- end }}

{{/* Labels of one object; call with (list $ "component"). */}}
{{- define "course-runner.labels" -}}
{{- $root := index . 0 }}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- include "course-runner.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: course-runner
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- define "course-runner.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "course-runner.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* What tells the metrics of this release's dispatchers from others', as Prometheus labels them. */}}
{{- define "course-runner.scraped" -}}
namespace={{ .Release.Namespace | quote }},pod=~"{{ include "course-runner.stem" . }}-dispatcher-.*"
{{- end }}

{{/* Labels of the runs' pods, as the dispatcher makes them: those of this release, and of its test. */}}
{{- define "course-runner.jobSelector" -}}
matchLabels:
  app.kubernetes.io/name: course-runner
  app.kubernetes.io/component: job
matchExpressions:
  - key: app.kubernetes.io/instance
    operator: In
    values: [{{ .Release.Name | quote }}, {{ include "course-runner.testInstance" . | quote }}]
{{- end }}

{{/* No release can be called so: a label may hold "_", a release's name may not. */}}
{{- define "course-runner.testInstance" -}}
{{- printf "%s_test" .Release.Name }}
{{- end }}

{{/* An image's name; call with (dict "root" $ "image" .Values.x.image). */}}
{{- define "course-runner.image" -}}
{{- $registry := ternary "" (printf "%s/" .root.Values.image.registry) (empty .root.Values.image.registry) }}
{{- $stem := printf "%s%s" $registry .image.repository }}
{{- if .image.digest }}
{{- printf "%s@%s" $stem .image.digest }}
{{- else }}
{{- printf "%s:%s" $stem (default .root.Chart.AppVersion .image.tag) }}
{{- end }}
{{- end }}
