FROM {{ .Base }}
ARG VERSION={{ .N }}
{{- if .B }}
ENV PROXY={{ .B }}
{{- end }}
RUN echo "{{ .A }}" > /etc/motd && \
    curl -fsSL "https://example.com/?name={{ .Z | urlquery }}" -o /opt/file
COPY {{ index . "k-e" }} /oem/
RUN kairos-init --version "v{{ .N }}" ${KAIROS_ARGS}
