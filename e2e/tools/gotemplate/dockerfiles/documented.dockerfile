FROM {{ .BaseImage }}
{{- if .ExtraPackages }}
RUN zypper install -y {{ .ExtraPackages }}
{{- end }}
RUN echo "Version: {{ .Version }}" > /etc/build-info
