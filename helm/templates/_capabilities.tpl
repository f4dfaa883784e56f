{{/* What the cluster can do; "" is no. */}}

{{- define "course-runner.admissionPolicy" -}}
{{- if and .Values.admissionPolicy.enabled (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}yes{{ end }}
{{- end }}

{{- define "course-runner.prometheusRule" -}}
{{- if and .Values.monitoring.prometheusRule.enabled (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") }}yes{{ end }}
{{- end }}

{{- define "course-runner.podMonitor" -}}
{{- if and .Values.monitoring.podMonitor.enabled (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") }}yes{{ end }}
{{- end }}

{{/* What it means that there is no admission policy; "" where there is one. */}}
{{- define "course-runner.admissionNote" -}}
{{- if not (include "course-runner.admissionPolicy" .) }}
{{- if .Values.admissionPolicy.enabled -}}
WARNING: this cluster is {{ .Capabilities.KubeVersion.Version }}; ValidatingAdmissionPolicy needs 1.30. Without it a
{{- else -}}
WARNING: admissionPolicy.enabled is false: a
{{- end }} run's service
account may patch any claim in namespace {{ include "course-runner.taskNamespace" . }}: keep other claims out of that namespace.
{{- end }}
{{- end }}
