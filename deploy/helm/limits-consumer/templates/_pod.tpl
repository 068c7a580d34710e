{{- define "limits-consumer.name" -}}
{{- if contains "limits-consumer" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-limits-consumer{{ end -}}
{{- end }}

{{/* The labels by which the pods of a part are found. Arguments: root, part. */}}
{{- define "limits-consumer.selector" -}}
app.kubernetes.io/name: limits-consumer
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* The labels of everything. Arguments: root, part. */}}
{{- define "limits-consumer.labels" -}}
{{ include "limits-consumer.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* The job under which Prometheus scrapes a part, and the name of its resources. Arguments: root, part. */}}
{{- define "limits-consumer.job" -}}
{{ include "limits-consumer.name" .root }}{{ if ne .part "worker" }}-{{ .part }}{{ end }}
{{- end }}

{{/* A service account and a deployment.
     Arguments: root, part, values, replicas (omitted with KEDA), args, port, env, grace, startup (path of the startup probe) */}}
{{- define "limits-consumer.deployment" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "limits-consumer.job" . }}
  labels:
    {{- include "limits-consumer.labels" . | nindent 4 }}
  {{- with .values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "limits-consumer.job" . }}
  labels:
    {{- include "limits-consumer.labels" . | nindent 4 }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ .replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "limits-consumer.selector" . | nindent 6 }}
  strategy:
    rollingUpdate: {maxSurge: 100%, maxUnavailable: 0}
  template:
    metadata:
      labels:
        {{- include "limits-consumer.labels" . | nindent 8 }}
        {{- with .root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # New settings need new pods.
        checksum/settings: {{ .root.Values.settings | toJson | sha256sum }}
        {{- with .root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "limits-consumer.job" . }}
      # It does not call Kubernetes. The token for AWS is another one.
      automountServiceAccountToken: false
      # A service that is called `consumer` would set variables that look like misspelled settings.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ .grace }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with .root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        - topologyKey: topology.kubernetes.io/zone
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "limits-consumer.selector" . | nindent 14 }}
      containers:
        - name: {{ .part }}
          image: {{ required "set image.repository" .root.Values.image.repository }}@{{ required "set image.digest" .root.Values.image.digest }}
          args: {{ toJson .args }}
          ports:
            - name: metrics
              containerPort: {{ .port }}
          envFrom:
            {{- with concat .root.Values.envFrom (.values.envFrom | default list) }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            - configMapRef:
                name: {{ include "limits-consumer.name" .root }}
          env:
            {{- range $name, $value := .env }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
          startupProbe:
            httpGet: {path: {{ .startup }}, port: metrics}
            periodSeconds: 5
            failureThreshold: 36
          livenessProbe:
            httpGet: {path: /livez, port: metrics}
            periodSeconds: 15
            timeoutSeconds: 10
            failureThreshold: 4
          readinessProbe:
            httpGet: {path: /readyz, port: metrics}
            timeoutSeconds: 5
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
      volumes:
        # Rendered properties and metrics files, in memory.
        - name: tmp
          emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- end }}
