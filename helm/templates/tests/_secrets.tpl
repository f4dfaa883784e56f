{{/* Of the built-in course platform and receiver, which exist while the test runs: they guard nothing. */}}
{{- define "course-runner.testSecrets" -}}
PLATFORM_TOKEN: helm-test-token
API_SECRET_KEY: helm-test-body-secret
WEBHOOK_SIGNING_KEY: helm-test-signing-key
{{- end }}
