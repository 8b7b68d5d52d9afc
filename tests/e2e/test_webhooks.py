"""A users' webhook that runs on the platform: asked through its Service."""

from __future__ import annotations

import base64
import os

import pytest
from tests.support.platform import Platform
from tests.support.webhooks import certificates

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="pods get networks of their own as root only"),
]

SERVER = """
import http.server, json, ssl

class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review.pop("request")
        allowed = request["object"]["data"].get("pet") != "cat"
        status = {"message": "no cats", "code": 403, "reason": "Forbidden"}
        response = {"uid": request["uid"], "allowed": allowed, "status": status}
        body = json.dumps({**review, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/certificates/tls.crt", "/certificates/tls.key")
server = http.server.ThreadingHTTPServer(("", 8443), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

HOOK = """
apiVersion: v1
kind: Secret
metadata: {{name: hook}}
type: kubernetes.io/tls
data: {{tls.crt: {chain}, tls.key: {key}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: hook}}
binaryData: {{server.py: {server}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: hook}}
spec:
  selector: {{matchLabels: {{app: hook}}}}
  template:
    metadata: {{labels: {{app: hook}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: hook
        image: python:3.11
        command: [python3, /server/server.py]
        ports: [{{name: https, containerPort: 8443}}]
        readinessProbe: {{tcpSocket: {{port: https}}, periodSeconds: 1}}
        volumeMounts:
        - {{name: certificates, mountPath: /certificates}}
        - {{name: server, mountPath: /server}}
      volumes:
      - {{name: certificates, secret: {{secretName: hook}}}}
      - {{name: server, configMap: {{name: hook}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: hook}}
spec:
  selector: {{app: hook}}
  ports: [{{port: 443, targetPort: https}}]
"""

CONFIGURATION = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: pets}}
webhooks:
- name: pets.house.example.org
  clientConfig:
    service: {{name: hook, namespace: default, path: /judge}}
    caBundle: {bundle}
  rules:
  - {{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}}
  objectSelector: {{matchLabels: {{pets: judged}}}}
  sideEffects: None
  admissionReviewVersions: [v1]
"""

PET = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, labels: {{pets: judged}}}}
data: {{pet: {pet}}}
"""


def test_a_webhook_in_a_pod_is_asked_through_its_service(solo: Platform) -> None:
    issued = certificates()
    parts = {
        "chain": base64.b64encode(issued.chain).decode(),
        "key": base64.b64encode(issued.key).decode(),
        "server": base64.b64encode(SERVER.encode()).decode(),
    }
    solo.kubectl("apply", "-f", "-", stdin=HOOK.format(**parts))
    solo.kubectl("rollout", "status", "deployment/hook", "--timeout=60s")
    solo.kubectl("apply", "-f", "-", stdin=CONFIGURATION.format(bundle=issued.bundle))
    try:
        solo.kubectl("create", "-f", "-", stdin=PET.format(name="rex", pet="dog"))
        refused = solo.run(
            "kubectl", "create", "-f", "-", stdin=PET.format(name="tom", pet="cat"), check=False
        )
        assert (
            'Error from server (Forbidden): error when creating "STDIN": admission webhook '
            '"pets.house.example.org" denied the request: no cats'
        ) in refused.stderr
    finally:
        solo.kubectl("delete", "validatingwebhookconfiguration", "pets")
        solo.kubectl("delete", "deployment,service,secret,configmap", "hook", "--ignore-not-found")
