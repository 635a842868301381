{{- define "tidemill.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tidemill.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidemill.labels" -}}
{{ include "tidemill.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tidemill.tokensSecret" -}}
{{- if .Values.tokens.lines }}{{ include "tidemill.name" . }}-tokens{{ else }}{{ required "tokens.existingSecret or tokens.lines: who may ask the server" .Values.tokens.existingSecret }}{{ end }}
{{- end }}

{{- define "tidemill.scriptConfigMap" -}}
{{- if .Values.job.existingConfigMap }}{{ .Values.job.existingConfigMap }}{{ else }}{{ include "tidemill.name" . }}-job{{ end }}
{{- end }}

{{- /* server.toml: each option of `config` on a line. */ -}}
{{- define "tidemill.config" -}}
{{- range $key, $value := .Values.config }}
{{ $key }} = {{ if kindIs "float64" $value }}{{ int64 $value }}{{ else }}{{ toJson $value }}{{ end }}
{{- end }}
{{- end }}

{{- /* What both kinds of pods are alike in. */ -}}
{{- define "tidemill.pod" -}}
metadata:
  labels:
    {{- include "tidemill.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- if eq .Values.mode "server" }}
    checksum/config: {{ include "tidemill.config" . | sha256sum }}
    checksum/tokens: {{ .Values.tokens.lines | toJson | sha256sum }}
    {{- else }}
    checksum/job: {{ .Values.job.sql | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: tidemill
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      env:
        - name: TIDEMILL_DATA_DIR
          value: /data
        {{- if .Values.secrets.existingSecret }}
        - name: TIDEMILL_SECRETS_DIR
          value: /run/tidemill/secrets
        {{- end }}
        {{- if eq .Values.mode "server" }}
        {{- include "tidemill.serverEnv" . | nindent 8 }}
        {{- else }}
        {{- include "tidemill.jobEnv" . | nindent 8 }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if eq .Values.mode "server" }}
      {{- include "tidemill.serverProbes" . | nindent 6 }}
      {{- else }}
      {{- include "tidemill.jobProbes" . | nindent 6 }}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /data
        {{- if .Values.secrets.existingSecret }}
        - name: secrets
          mountPath: /run/tidemill/secrets
          readOnly: true
        {{- end }}
        {{- if eq .Values.mode "server" }}
        - name: config
          mountPath: /etc/tidemill
          readOnly: true
        - name: tokens
          mountPath: /run/tidemill/tokens
          readOnly: true
        {{- if .Values.tls.existingSecret }}
        - name: tls
          mountPath: /run/tidemill/tls
          readOnly: true
        {{- end }}
        {{- else }}
        - name: job
          mountPath: /etc/tidemill
          readOnly: true
        {{- end }}
  volumes:
    {{- if .Values.secrets.existingSecret }}
    - name: secrets
      secret:
        secretName: {{ .Values.secrets.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- if eq .Values.mode "server" }}
    - name: config
      configMap:
        name: {{ include "tidemill.name" . }}-config
    - name: tokens
      secret:
        secretName: {{ include "tidemill.tokensSecret" . }}
        defaultMode: 0440
    {{- if .Values.tls.existingSecret }}
    - name: tls
      secret:
        secretName: {{ .Values.tls.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- else }}
    - name: job
      configMap:
        name: {{ include "tidemill.scriptConfigMap" . }}
    {{- end }}
    {{- if .Values.job.ends }}
    {{- if eq .Values.mode "job" }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ include "tidemill.name" . }}-data
    {{- end }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "tidemill.serverEnv" -}}
- name: TIDEMILL_LISTEN
  value: 0.0.0.0:8080
- name: TIDEMILL_CONFIG
  value: /etc/tidemill/server.toml
- name: TIDEMILL_TOKENS_FILE
  value: /run/tidemill/tokens/tokens
{{- if .Values.tls.existingSecret }}
- name: TIDEMILL_TLS_CERT
  value: /run/tidemill/tls/tls.crt
- name: TIDEMILL_TLS_KEY
  value: /run/tidemill/tls/tls.key
{{- end }}
{{- end }}

{{- define "tidemill.jobEnv" -}}
- name: TIDEMILL_JOB_FILE
  value: /etc/tidemill/job.sql
{{- with .Values.job.parallelism }}
- name: TIDEMILL_JOB_PARALLELISM
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "tidemill.serverProbes" -}}
ports:
  - name: http
    containerPort: 8080
livenessProbe:
  httpGet:
    path: /livez
    port: http
    scheme: {{ if .Values.tls.existingSecret }}HTTPS{{ else }}HTTP{{ end }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: http
    scheme: {{ if .Values.tls.existingSecret }}HTTPS{{ else }}HTTP{{ end }}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- /* A job that waits to be restarted after a failure is alive, and not ready. */ -}}
{{- define "tidemill.jobProbes" -}}
startupProbe:
  exec:
    command: [/usr/local/bin/tidemill, health, --live]
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 150
livenessProbe:
  exec:
    command: [/usr/local/bin/tidemill, health, --live]
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  exec:
    command: [/usr/local/bin/tidemill, health]
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}

{{- define "tidemill.claim" -}}
accessModes:
  {{- toYaml .Values.persistence.accessModes | nindent 2 }}
{{- with .Values.persistence.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.persistence.size }}
{{- end }}
