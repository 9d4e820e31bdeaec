{{- define "stagedoor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "stagedoor.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "stagedoor.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "stagedoor.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "stagedoor.selector" -}}
app.kubernetes.io/name: {{ include "stagedoor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "stagedoor.labels" -}}
{{ include "stagedoor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: authorizer
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "stagedoor.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "stagedoor.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name the account, or let the chart make one" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "stagedoor.image" -}}
{{- $repository := required "image.repository: say where the image is, such as registry.example.com/stagedoor" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Whether Stagedoor itself speaks TLS. */}}
{{- define "stagedoor.tls" -}}
{{- if ne .Values.tls.mode "mesh" }}true{{ end }}
{{- end }}

{{- define "stagedoor.tlsSecret" -}}
{{- if eq .Values.tls.mode "certManager" }}
{{- printf "%s-tls" (include "stagedoor.fullname" .) }}
{{- else }}
{{- required "tls.existingSecret: name the Secret with tls.crt and tls.key (or set tls.mode to certManager, or to mesh where a sidecar encrypts)" .Values.tls.existingSecret }}
{{- end }}
{{- end }}

{{/* A duration of the configuration in whole seconds, rounded up. */}}
{{- define "stagedoor.seconds" -}}
{{- $text := toString . }}
{{- if hasSuffix "ms" $text }}
{{- divf (trimSuffix "ms" $text | float64) 1000 | ceil | int }}
{{- else if hasSuffix "s" $text }}
{{- trimSuffix "s" $text | int }}
{{- else if hasSuffix "m" $text }}
{{- mul (trimSuffix "m" $text | int) 60 }}
{{- else if hasSuffix "h" $text }}
{{- mul (trimSuffix "h" $text | int) 3600 }}
{{- else }}
{{- fail (printf "`%s` is no duration: write 500ms, 3s, 5m" $text) }}
{{- end }}
{{- end }}

{{/*
The limits that the chart counts with. Kubernetes takes some seconds to tell every node
that a pod is going: so long it still accepts connections.
*/}}
{{- define "stagedoor.limits" -}}
{{- $given := dig "limits" (dict) .Values.config }}
{{- mergeOverwrite (dict "pre_stop" "10s" "drain_timeout" "15s") $given | toYaml }}
{{- end }}

{{- define "stagedoor.graceSeconds" -}}
{{- $limits := include "stagedoor.limits" . | fromYaml }}
{{- add (include "stagedoor.seconds" $limits.pre_stop) (include "stagedoor.seconds" $limits.drain_timeout) .Values.terminationMarginSeconds }}
{{- end }}

{{/*
The configuration: the chart's own defaults, over them what `config` says, and over that what
follows from how the chart exposes and mounts things.
*/}}
{{- define "stagedoor.config" -}}
{{- $grpc := printf "%s:9191" .Values.listenAddress }}
{{- $admin := printf "%s:9192" .Values.listenAddress }}
{{- $listen := dict "grpc" (list $grpc) "admin" $admin }}
{{- $asked := list $grpc }}
{{- $plaintext := list }}
{{- if include "stagedoor.tls" . }}
{{- $tls := dict "certificate_file" "/etc/stagedoor/tls/tls.crt" "key_file" "/etc/stagedoor/tls/tls.key" }}
{{- if .Values.tls.mutual }}
{{- $_ := set $tls "client_ca_file" "/etc/stagedoor/tls/ca.crt" }}
{{- if .Values.tls.clients }}
{{- $_ := set $tls "clients" .Values.tls.clients }}
{{- end }}
{{- end }}
{{- $_ := set $listen "tls" $tls }}
{{- else }}
{{- $plaintext = $asked }}
{{- end }}
{{- $made := dict "listen" $listen }}
{{- if .Values.http.enabled }}
{{- $http := printf "%s:9193" .Values.listenAddress }}
{{- $_ := set $listen "http" (list $http) }}
{{- $settings := dict "dialect" .Values.http.dialect }}
{{- with .Values.http.pathPrefix }}
{{- $_ := set $settings "path_prefix" . }}
{{- end }}
{{- if .Values.http.believeAnyPeer }}
{{- $_ := set $settings "believe_any_peer_on" (list $http) }}
{{- end }}
{{- $_ := set $made "http_authorization" $settings }}
{{- if not (include "stagedoor.tls" .) }}
{{- $plaintext = append $plaintext $http }}
{{- end }}
{{- end }}
{{- if .Values.tls.admin }}
{{- $tls := dict "certificate_file" "/etc/stagedoor/tls/tls.crt" "key_file" "/etc/stagedoor/tls/tls.key" }}
{{- /* Without names, whoever has a certificate of the CA could do everything there: each Envoy. */}}
{{- with .Values.tls.adminClients }}
{{- $_ := set $tls "client_ca_file" "/etc/stagedoor/tls/ca.crt" }}
{{- $_ := set $tls "clients" . }}
{{- end }}
{{- $_ := set $listen "admin_tls" $tls }}
{{- end }}
{{- if .Values.secrets.adminToken.existingSecret }}
{{- $_ := set $listen "admin_token_file" "/etc/stagedoor/secrets/admin-token" }}
{{- end }}
{{- if .Values.admin.openToAnybody }}
{{- $plaintext = append $plaintext $admin }}
{{- end }}
{{- if $plaintext }}
{{- $_ := set $listen "allow_plaintext_on" $plaintext }}
{{- end }}
{{- $defaults := dict
      "limits" (include "stagedoor.limits" . | fromYaml)
      "catalog" (dict "store" "/var/lib/stagedoor")
      "entra" (dict "keys" (dict "store" "/var/lib/stagedoor"))
      "telemetry" (dict "log_format" "json")
}}
{{- if .Values.policies }}
{{- $_ := set $defaults "policy" (dict "files" (list "/etc/stagedoor/policies")) }}
{{- end }}
{{- if .Values.secrets.backstageToken.existingSecret }}
{{- $_ := set $made "catalog" (dict "backstage" (dict "token_file" "/etc/stagedoor/secrets/backstage-token")) }}
{{- end }}
{{- if .Values.secrets.graphCertificate.existingSecret }}
{{- $_ := set $made "entra" (dict "graph" (dict "certificate_file" "/etc/stagedoor/secrets/graph-certificate")) }}
{{- end }}
{{- if .Values.secrets.pseudonymKey.existingSecret }}
{{- $_ := set $made "audit" (dict "pseudonyms" (dict "key_file" "/etc/stagedoor/secrets/pseudonym-key")) }}
{{- end }}
{{- mergeOverwrite $defaults (deepCopy .Values.config) $made | toYaml }}
{{- end }}

{{/*
The settings that a running Stagedoor takes over from a changed file, each with everything below
it. It refuses a file in which any other differs: those are what pods are replaced for.
*/}}
{{- define "stagedoor.changeInPlace" -}}
/entra
/catalog/backstage/token_file
/catalog/backstage/page_size
/catalog/backstage/crawl_timeout
/catalog/backstage/trusted_id_locations
/catalog/backstage/graph_providers
/catalog/refresh_every
/catalog/max_age
/catalog/guard
/catalog/root_groups_grant
/catalog/membership
/routes
/catalog_routes
/policy
/answer
/denial
/check
/reload
{{- end }}

{{/* What pods are replaced for with `reload`, and the authorities that are read at a start only. */}}
{{- define "stagedoor.fixed" -}}
{{- $config := include "stagedoor.config" . | fromYaml }}
{{- $files := dict }}
{{- range append (dig "outgoing" "ca_files" list $config) (dig "telemetry" "ca_file" "" $config) }}
{{- $_ := set $files (base .) (get $.Values.files (base .)) }}
{{- end }}
{{- range include "stagedoor.changeInPlace" . | splitList "\n" }}
{{- $way := splitList "/" . | rest }}
{{- $holder := $config }}
{{- range initial $way }}
{{- if kindIs "map" $holder }}
{{- $holder = get $holder . }}
{{- end }}
{{- end }}
{{- if kindIs "map" $holder }}
{{- $_ := unset $holder (last $way) }}
{{- end }}
{{- end }}
{{- list $config $files | toJson }}
{{- end }}

{{/* What is in each ConfigMap: for the maps themselves, and to see when they change. */}}
{{- define "stagedoor.configData" -}}
stagedoor.yaml: |
  # Written by the Helm chart.
{{ include "stagedoor.config" . | indent 2 }}
{{- end }}

{{/*
What a configuration can name, for the pods and for the Job that checks it. `suffix` is that
of the ConfigMaps' names.
*/}}
{{- define "stagedoor.volumes" -}}
{{- $name := include "stagedoor.fullname" .root }}
{{- $secrets := include "stagedoor.secretSources" .root }}
- name: config
  configMap: { name: {{ $name }}-config{{ .suffix }} }
{{- if .root.Values.policies }}
- name: policies
  configMap: { name: {{ $name }}-policies{{ .suffix }} }
{{- end }}
{{- if .root.Values.files }}
- name: files
  configMap: { name: {{ $name }}-files{{ .suffix }} }
{{- end }}
{{- if include "stagedoor.tls" .root }}
- name: tls
  secret: { secretName: {{ include "stagedoor.tlsSecret" .root }}, defaultMode: 0440 }
{{- end }}
{{- if $secrets }}
- name: secrets
  projected:
    defaultMode: 0440
    sources: {{- $secrets | trim | nindent 6 }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Folders, never single files: only a folder's files are seen to change. */}}
{{- define "stagedoor.mounts" -}}
- { name: config, mountPath: /etc/stagedoor/config, readOnly: true }
{{- if .Values.policies }}
- { name: policies, mountPath: /etc/stagedoor/policies, readOnly: true }
{{- end }}
{{- if .Values.files }}
- { name: files, mountPath: /etc/stagedoor/files, readOnly: true }
{{- end }}
{{- if include "stagedoor.tls" . }}
- { name: tls, mountPath: /etc/stagedoor/tls, readOnly: true }
{{- end }}
{{- if include "stagedoor.secretSources" . }}
- { name: secrets, mountPath: /etc/stagedoor/secrets, readOnly: true }
{{- end }}
- { name: store, mountPath: /var/lib/stagedoor }
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where the chart was copied without what its links lead to. */}}
{{- define "stagedoor.noLinks" -}}
the chart's folder `monitoring` is empty here, or has links that lead nowhere: take a released chart, or a checkout of the repository that keeps symbolic links
{{- end }}

{{- define "stagedoor.secretSources" -}}
{{- $secrets := .Values.secrets }}
{{- range $path, $secret := dict "backstage-token" $secrets.backstageToken "graph-certificate" $secrets.graphCertificate "admin-token" $secrets.adminToken "pseudonym-key" $secrets.pseudonymKey }}
{{- if $secret.existingSecret }}
- secret:
    name: {{ $secret.existingSecret }}
    items: [{ key: {{ $secret.key | quote }}, path: {{ $path }} }]
{{- end }}
{{- end }}
{{- end }}

{{- define "stagedoor.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "stagedoor.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: { drop: [ALL] }
{{- end }}
