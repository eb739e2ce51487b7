{{- define "kairos-operator.arguments.labeller" }}
{{- with .settings.detect }}
- --detect-namespace={{ .namespace }}
{{- include "kairos-operator.repeated" (dict "flag" "image-pull-secret" "values" .pullSecrets) }}
{{- with .priorityClassName }}
- --priority-class-name={{ . }}
{{- end }}
{{- end }}
{{- with .settings.selector }}
- {{ printf "--node-selector=%s" . | quote }}
{{- end }}
{{- end }}

{{- define "kairos-operator.environment.labeller" }}
# The image of the Pods that look at nodes: the same as above.
- name: DETECT_IMAGE
  value: {{ .image }}
{{- end }}
