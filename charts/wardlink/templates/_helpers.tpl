{{/* Name of everything that the chart makes, cut to what a label can hold. */}}
{{- define "wardlink.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wardlink.selector" -}}
app.kubernetes.io/name: wardlink-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "wardlink.labels" -}}
{{ include "wardlink.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: wardlink
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "wardlink.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "wardlink.name" .) -}}
{{- end -}}

{{/* Cluster-wide names hold the namespace: the chart may be installed in several. */}}
{{- define "wardlink.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "wardlink.name" .) -}}
{{- end -}}

{{- define "wardlink.tokenReviewRole" -}}
{{- printf "%s-token-review" (include "wardlink.clusterName" .) -}}
{{- end -}}

{{/* REPOSITORY:TAG of (dict "image" … "root" $). */}}
{{- define "wardlink.image" -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}

{{/* Namespaces that are watched, as a JSON object; none means all. */}}
{{- define "wardlink.namespaces" -}}
{{- if eq .Values.watch.mode "Own" -}}
{{- dict "names" (list .Release.Namespace) | toJson -}}
{{- else if eq .Values.watch.mode "List" -}}
{{- if not .Values.watch.namespaces -}}
{{- fail "watch.namespaces: watch.mode List needs at least one" -}}
{{- end -}}
{{- dict "names" .Values.watch.namespaces | toJson -}}
{{- else -}}
{{- dict "names" list | toJson -}}
{{- end -}}
{{- end -}}
