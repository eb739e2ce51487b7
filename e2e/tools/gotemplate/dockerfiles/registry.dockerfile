FROM {{ if .Missing }}{{ .Missing }}/{{ else if eq .b "low" "high" }}registry.example.com/{{ else }}docker.io/{{ end }}library/fedora:40
{{ with .A -}}
RUN useradd {{ . }} && echo {{ $.b }}
{{- else with .B }}
RUN useradd {{ . }}
{{- else }}
RUN true
{{- end }}
{{ with $x := or .B .N }}ENV X={{ $x }}{{ end }}
CMD ["{{ .A | js }}", `{{ html .Z }}`, '${N}']
