{{- define "kairos-operator.arguments.artifact" }}
{{- with .settings.tools.auroraboot }}
- {{ printf "--auroraboot-image=%s" . | quote }}
{{- end }}
{{- with .settings.tools.buildah }}
- {{ printf "--buildah-image=%s" . | quote }}
{{- end }}
{{- with .settings.tools.kairosInit }}
- {{ printf "--kairos-init-image=%s" . | quote }}
{{- end }}
{{- with .settings.defaultKairosVersion }}
- --default-kairos-version={{ . }}
{{- end }}
{{- if .settings.allowInsecureRegistries }}
- --allow-insecure-registries
{{- end }}
{{- with .settings.builder }}
{{- include "kairos-operator.repeated" (dict "flag" "image-pull-secret" "values" .pullSecrets) }}
{{- range $key, $value := .nodeSelector }}
- {{ printf "--builder-node-selector=%s=%s" $key $value | quote }}
{{- end }}
{{- with .tolerations }}
- {{ printf "--builder-tolerations=%s" (toJson .) | quote }}
{{- end }}
{{- with .affinity }}
- {{ printf "--builder-affinity=%s" (toJson .) | quote }}
{{- end }}
{{- with .resources }}
- {{ printf "--builder-resources=%s" (toJson .) | quote }}
{{- end }}
{{- with .priorityClassName }}
- --priority-class-name={{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kairos-operator.environment.artifact" }}
# The same image as above: it also holds the worker, which runs in builder Pods.
- name: WORKER_IMAGE
  value: {{ .image }}
{{- end }}
