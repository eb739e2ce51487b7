{{/* Names are fixed: a cluster holds one installation, and a second one is refused because its objects exist already. */}}

{{/* The controllers: key in values → name of everything that belongs to it. */}}
{{- define "kairos-operator.names" -}}
nodeop: nodeop-controller
upgrade: upgrade-controller
artifact: artifact-controller
labeller: node-labeller
{{- end }}

{{/* One context per enabled controller, as JSON: key, name, and settings, which are the defaults and what replaces them. */}}
{{- define "kairos-operator.controllers" -}}
{{- $controllers := list }}
{{- range $key, $name := include "kairos-operator.names" . | fromYaml }}
{{- $own := get $.Values $key }}
{{- if $own.enabled }}
{{- $settings := deepCopy $.Values.defaults }}
{{- range $field, $value := $own }}
{{- $_ := set $settings $field $value }}
{{- end }}
{{- $controllers = append $controllers (dict "key" $key "name" $name "settings" $settings) }}
{{- end }}
{{- end }}
{{- $controllers | toJson }}
{{- end }}

{{/* Labels of every object of the controller .name. */}}
{{- define "kairos-operator.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: kairos-operator
{{- end }}

{{/* Full name of the image .image: digest, else tag, else the version of the chart. */}}
{{- define "kairos-operator.image" -}}
{{- with .root.Values.image.registry }}{{ . | trimSuffix "/" }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}
{{- else }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* A list of arguments --FLAG=VALUE, one for each of .values. */}}
{{- define "kairos-operator.repeated" -}}
{{- range .values }}
- {{ printf "--%s=%s" $.flag . | quote }}
{{- end }}
{{- end }}

{{/* subjects of a binding: the controller's ServiceAccount. */}}
{{- define "kairos-operator.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ .name }}
  namespace: {{ .namespace }}
{{- end }}

{{/* The binding of the ClusterRole .name to the controller of that name. */}}
{{- define "kairos-operator.cluster-role-binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "kairos-operator.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
{{ include "kairos-operator.subjects" . }}
{{- end }}

{{/* The rules .rules for the controller .name in each watched namespace: a Role and its binding. */}}
{{- define "kairos-operator.watched-roles" -}}
{{- range .root.Values.watchNamespaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  # Not the controller's name alone: its own namespace may be watched, and holds the Role for its Lease.
  name: {{ $.name }}-watched
  namespace: {{ . }}
  labels:
    {{- include "kairos-operator.labels" $ | nindent 4 }}
rules:
{{ $.rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $.name }}-watched
  namespace: {{ . }}
  labels:
    {{- include "kairos-operator.labels" $ | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $.name }}-watched
{{ include "kairos-operator.subjects" (dict "name" $.name "namespace" $.root.Release.Namespace) }}
{{- end }}
{{- end }}
