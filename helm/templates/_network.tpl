{{/* Rules that several network policies share. */}}

{{- define "course-runner.egressDns" -}}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .Values.networkPolicy.dnsTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "course-runner.egressApi" -}}
- ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .Values.networkPolicy.apiServer.cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}

{{/* To the embedded server's pod; a namespace is named, for runs may live in another one. */}}
{{- define "course-runner.egressRedis" -}}
- ports:
    - {protocol: TCP, port: 6379}
  to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
      podSelector:
        matchLabels: {{- include "course-runner.selector" (list . "redis") | nindent 10 }}
{{- end }}

{{/* Host and port of an address, as JSON; {} when it is empty. Call with (dict "url" … "default" 443). */}}
{{- define "course-runner.place" -}}
{{- if .url }}
{{- $host := get (urlParse .url) "host" }}
{{- $found := regexFind ":[0-9]+$" $host }}
{{- $default := get (dict "http" 80 "https" 443 "redis" 6379 "rediss" 6379) (get (urlParse .url) "scheme") | default 0 }}
{{- dict "host" (trimSuffix $found $host) "port" (trimPrefix ":" $found | default $default | int) | toJson }}
{{- else }}{}{{- end }}
{{- end }}

{{/* Namespace of a Service that an address names (http://name.namespace.svc…), or "". */}}
{{- define "course-runner.serviceNamespace" -}}
{{- $parts := regexFind "^[a-z0-9-]+\\.[a-z0-9-]+\\.svc(\\.|$)" . }}
{{- if $parts }}{{ index (splitList "." $parts) 1 }}{{ end }}
{{- end }}

{{/* Where the runs' own addresses lead, as JSON {ports, namespaces}. */}}
{{- define "course-runner.jobPlaces" -}}
{{- $ports := list }}
{{- range .Values.networkPolicy.public.ports }}{{ $ports = append $ports (int .) }}{{ end }}
{{- $namespaces := list }}
{{- $urls := list .Values.settings.WEBHOOK_URL .Values.settings.PLATFORM_URL .Values.secrets.DATABASE_URL }}
{{- if and .Values.progress.enabled (not .Values.redis.embedded) }}
{{- $urls = append $urls (.Values.redis.progressUrl | default .Values.redis.url) }}
{{- end }}
{{- range $urls }}
{{- $place := include "course-runner.place" (dict "url" .) | fromJson }}
{{- if $place.host }}
{{- $namespace := include "course-runner.serviceNamespace" $place.host }}
{{- if $namespace }}
{{- $namespaces = append $namespaces $namespace }}
{{- else if $place.port }}
{{- $ports = append $ports (int $place.port) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "ports" (uniq $ports) "namespaces" (uniq $namespaces) | toJson }}
{{- end }}

{{/* The API server's ranges of one family that no exception covers by name; call with (list $ IPv6?). */}}
{{- define "course-runner.apiCidrs" -}}
{{- $found := list }}
{{- range (index . 0).Values.networkPolicy.apiServer.cidrs }}
{{- if eq (contains ":" .) (index $ 1) }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- $found | toJson }}
{{- end }}
