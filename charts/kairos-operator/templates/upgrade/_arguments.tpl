{{- define "kairos-operator.arguments.upgrade" }}{{ end }}
{{- define "kairos-operator.environment.upgrade" }}{{ end }}
