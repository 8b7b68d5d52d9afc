"""Workloads find each other: Services, their names, and autoscaled models."""

from __future__ import annotations

import os
import urllib.request

import pytest
from tests.support.platform import Platform

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="pods get networks of their own as root only"),
]

WEB = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: site}
spec:
  replicas: 2
  serviceName: site-pods
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: site}}
  template:
    metadata: {labels: {app: site}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: python:3.11
        workingDir: /tmp
        command: [sh, -c, "hostname > index.html; exec python3 -m http.server 8000"]
        ports: [{name: http, containerPort: 8000}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: site}
spec:
  type: NodePort
  selector: {app: site}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: site-pods}
spec:
  clusterIP: None
  selector: {app: site}
  ports: [{port: 8000, name: http}]
"""

ASK = """
import json, socket, urllib.request
def read(url):
    return urllib.request.urlopen(url, timeout=10).read().decode().strip()
print(json.dumps({
    "balanced": sorted({read("http://site") for _ in range(6)}),
    "by name": read("http://site-1.site-pods.default.svc.cluster.local:8000"),
    "headless": len(socket.gethostbyname_ex("site-pods")[2]),
    "platform": urllib.request.urlopen("http://kubeling.kubeflow/healthz").status,
}))
"""


def test_pods_reach_services_by_name(solo: Platform) -> None:
    solo.kubectl("apply", "-f", "-", stdin=WEB)
    solo.kubectl("rollout", "status", "statefulset/site", "--timeout=60s")
    client = ["create", "job", "ask", "--image=python:3.11", "--", "python3", "-c", ASK]
    solo.kubectl(*client)
    solo.kubectl("wait", "--for=condition=complete", "job/ask", "--timeout=60s")
    answer = solo.kubectl("logs", "job/ask")
    assert '"balanced": ["site-0", "site-1"]' in answer
    assert '"by name": "site-1"' in answer
    assert '"headless": 2' in answer
    assert '"platform": 200' in answer


def test_a_node_port_answers_on_this_machine(solo: Platform) -> None:
    solo.kubectl("apply", "-f", "-", stdin=WEB)
    solo.kubectl("rollout", "status", "statefulset/site", "--timeout=60s")
    (port,) = solo.object("service", "site")["spec"]["ports"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port['nodePort']}", timeout=10) as answer:
        assert answer.read().decode().startswith("site-")


def test_deleting_a_set_closes_its_service(solo: Platform) -> None:
    solo.kubectl("apply", "-f", "-", stdin=WEB)
    solo.kubectl("rollout", "status", "statefulset/site", "--timeout=60s")
    (port,) = solo.object("service", "site")["spec"]["ports"]
    solo.kubectl("delete", "statefulset", "site", "--cascade=foreground", "--timeout=60s")
    solo.until(lambda o: not o.get("subsets"), "endpoints", "site")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port['nodePort']}", timeout=10)
