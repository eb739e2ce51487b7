{{/* Every value becomes an environment variable. */ -}}
FROM scratch
{{ range $name, $value := . -}}
ENV {{ $name }}={{ printf "%q" $value }}
{{ end }}
{{- $last := "" }}{{ range 3 }}{{ if eq . 2 }}{{ break }}{{ end }}{{ $last = . }}
RUN step-{{ . }}.sh
{{ else }}
# no steps
{{ end -}}
LABEL last={{ $last }}
