{{- define "kairos-operator.arguments.nodeop" }}
{{- with .settings.priorityClass.name }}
- --priority-class-name={{ . }}
{{- end }}
{{- with .settings.defaultImage }}
- {{ printf "--default-image=%s" . | quote }}
{{- end }}
{{- include "kairos-operator.repeated" (dict "flag" "image-pull-secret" "values" .settings.podPullSecrets) }}
{{- end }}

{{- define "kairos-operator.environment.nodeop" }}
{{- if .root.Values.watchNamespaces }}
# Without rights on Pods of this namespace it cannot look its own image up, which also holds the node agent.
- name: AGENT_IMAGE
  value: {{ .image }}
{{- end }}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- end }}
