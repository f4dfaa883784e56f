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

{{/* To a server of one's own, which may be anywhere; call with its address, or with "" where only a
     Secret knows it. */}}
{{- define "course-runner.egressOwnRedis" -}}
- ports:
    {{- range (include "course-runner.place" . | fromJson).ports | default (list 6379) }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* Host and ports of an address, as JSON; {} when it is empty. Of several hosts the first one: all
     listen on one port. Sentinels name a server, which is reached as well. */}}
{{- define "course-runner.place" -}}
{{- if . }}
{{- $scheme := regexFind "^[a-z+]+" . }}
{{- $authority := regexReplaceAll "^[a-z+]+://([^/?#]*).*$" (replace "\n" "" .) "${1}" }}
{{- $host := splitList "@" $authority | last | splitList "," | first }}
{{- $port := regexFind ":[0-9]+$" $host }}
{{- $usual := dict "http" 80 "https" 443 "redis" 6379 "rediss" 6379 "redis+sentinel" 26379 "rediss+sentinel" 26379 "redis+cluster" 6379 "rediss+cluster" 6379 "postgresql" 5432 "mysql" 3306 "mariadb" 3306 }}
{{- /* SQLAlchemy's schemes name a driver too: postgresql+psycopg. */}}
{{- $known := ternary $scheme (splitList "+" $scheme | first) (hasKey $usual $scheme) }}
{{- $ports := list (trimPrefix ":" $port | default (get $usual $known | toString) | int) }}
{{- if contains "sentinel" $scheme }}{{ $ports = append $ports 6379 }}{{ end }}
{{- dict "host" (trimSuffix $port $host) "ports" (without $ports 0) | toJson }}
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
{{- $place := include "course-runner.place" . | fromJson }}
{{- if $place.host }}
{{- $namespace := include "course-runner.serviceNamespace" $place.host }}
{{- if $namespace }}
{{- $namespaces = append $namespaces $namespace }}
{{- else }}
{{- range $place.ports }}{{ $ports = append $ports (int .) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "ports" (uniq $ports) "namespaces" (uniq $namespaces) | toJson }}
{{- end }}

{{/* That no way is open to a database whose address the chart cannot read; "" where none is needed. */}}
{{- define "course-runner.databaseNote" -}}
{{- $referred := false }}
{{- range .Values.secrets.from }}{{ if eq .as "DATABASE_URL" }}{{ $referred = true }}{{ end }}{{ end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.jobEgress) }}
{{- if $referred -}}
DATABASE_URL is in a Secret that the chart cannot read, so runs may reach the database only at
{{- else if .Values.secrets.existingSecret -}}
if {{ .Values.secrets.existingSecret }} holds a DATABASE_URL, the chart cannot read it, so runs may reach the database only at
{{- end }}
{{- if or $referred .Values.secrets.existingSecret }}
public addresses on ports {{ .Values.networkPolicy.public.ports | join ", " }}. Open the way to it with networkPolicy.jobEgress.
{{- end }}
{{- end }}
{{- end }}

{{/* The API server's ranges of one family that no exception covers by name; call with (list $ IPv6?). */}}
{{- define "course-runner.apiCidrs" -}}
{{- $found := list }}
{{- range (index . 0).Values.networkPolicy.apiServer.cidrs }}
{{- if eq (contains ":" .) (index $ 1) }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- $found | toJson }}
{{- end }}
