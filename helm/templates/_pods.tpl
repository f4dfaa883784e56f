{{/* What the pods of the chart have in common. */}}

{{- define "course-runner.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a pod may go; call with (dict "root" $ "at" .Values.x). */}}
{{- define "course-runner.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .at.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .at.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The dispatcher's container but for what it runs: also that of the test and of the report. */}}
{{- define "course-runner.dispatcherImage" -}}
image: {{ include "course-runner.image" (dict "root" . "image" .Values.dispatcher.image) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "course-runner.containerSecurity" . | nindent 2 }}
{{- end }}

{{- define "course-runner.redisVolume" -}}
- name: settings
  secret:
    secretName: {{ include "course-runner.redisSecret" . }}
    defaultMode: 0440
    items:
      - {key: {{ include "course-runner.redisKey" . }}, path: REDIS_URL}
{{- end }}
