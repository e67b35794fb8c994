{{- define "tandem.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "tandem.selector" -}}
app.kubernetes.io/name: tandem
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tandem.labels" -}}
{{ include "tandem.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tandem.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "tandem.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "tandem.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "tandem.tokenSecret" -}}
{{ .Values.admin.tokenSecretName | default (printf "%s-api" (include "tandem.fullname" .)) }}
{{- end -}}

{{- define "tandem.linkSecret" -}}
{{ .Values.link.tls.secretName | default (printf "%s-link" (include "tandem.fullname" .)) }}
{{- end -}}

{{- define "tandem.isShared" -}}
{{- if or .Values.store.url .Values.store.urlSecret.name .Values.redis.enabled -}}true{{- end -}}
{{- end -}}

{{- define "tandem.storeUrl" -}}
{{- if .Values.store.url -}}
{{ .Values.store.url }}
{{- else if .Values.redis.enabled -}}
redis://{{ include "tandem.fullname" . }}-redis:6379
{{- else -}}
memory:
{{- end -}}
{{- end -}}

{{/* What the chart itself writes into tandem.toml; the rest is `config`. */}}
{{- define "tandem.base" -}}
[[listen]]
name = "udp"
transport = "udp"
bind = "0.0.0.0:{{ .Values.sip.port }}"
{{- if .Values.sip.tcp }}

[[listen]]
name = "tcp"
transport = "tcp"
bind = "0.0.0.0:{{ .Values.sip.port }}"
{{- end }}
{{- if .Values.sip.tls.enabled }}

[[listen]]
name = "tls"
transport = "tls"
bind = "0.0.0.0:{{ .Values.sip.tls.port }}"
cert = "/etc/tandem/sip-tls/tls.crt"
key = "/etc/tandem/sip-tls/tls.key"
{{- end }}

[admin]
bind = "0.0.0.0:{{ .Values.admin.port }}"
{{- if include "tandem.isShared" . }}

[link]
bind = "0.0.0.0:{{ .Values.link.port }}"
ca = "/etc/tandem/link/ca.crt"
cert = "/etc/tandem/link/tls.crt"
key = "/etc/tandem/link/tls.key"
name = {{ .Values.link.tls.name | quote }}
{{- end }}
{{- with .Values.parameters }}

[parameters]
{{- range $name, $value := . }}
{{ $name }} = {{ if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ $value }}{{ end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tandem.validate" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not (include "tandem.isShared" .)) -}}
{{- fail "replicaCount > 1 takes a store that the nodes share: set store.url or store.urlSecret.name, or redis.enabled for a trial" -}}
{{- end -}}
{{- if and (eq .Values.network.mode "shared") (not .Values.network.sharedAddress) -}}
{{- fail "network.mode shared takes network.sharedAddress, by which peers are told of all nodes" -}}
{{- end -}}
{{- if and (eq .Values.network.mode "perPod") (lt (len .Values.network.podAddresses) (int .Values.replicaCount)) -}}
{{- fail "network.mode perPod takes an address in network.podAddresses for each of replicaCount nodes" -}}
{{- end -}}
{{- if and .Values.sip.tls.enabled (not .Values.sip.tls.secretName) -}}
{{- fail "sip.tls.enabled takes sip.tls.secretName, a Secret of type kubernetes.io/tls" -}}
{{- end -}}
{{- if and .Values.store.url .Values.store.urlSecret.name -}}
{{- fail "store.url and store.urlSecret.name exclude each other" -}}
{{- end -}}
{{- end -}}
