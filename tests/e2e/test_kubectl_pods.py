"""A notebook-like pod with the fields that Kubeflow sets, looked at with the unmodified kubectl."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

NOTEBOOK = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: home}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: notebook, labels: {app: notebook}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {fsGroup: 100, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: notebook
    image: python:3.11
    workingDir: /home/jovyan
    command: [sh, -c]
    args: ["id -u; echo mine > note; cat note; touch /etc/x || echo sealed; exec sleep 4321"]
    securityContext:
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      readOnlyRootFilesystem: true
    resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 256Mi}}
    readinessProbe: {exec: {command: [test, -e, /home/jovyan/note]}, periodSeconds: 1}
    volumeMounts:
    - {name: home, mountPath: /home/jovyan}
    - {name: shm, mountPath: /dev/shm}
  volumes:
  - {name: home, persistentVolumeClaim: {claimName: home}}
  - {name: shm, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
"""
IN_CLUSTER = """
import os, ssl, urllib.error, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=folder + "ca.crt")
address = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
token = {"Authorization": "Bearer " + open(folder + "token").read()}
request = urllib.request.Request(address + "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}',
    token | {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, context=context).read().decode())
"""


@pytest.fixture(scope="module")
def notebook(solo: Platform) -> Iterator[Platform]:
    solo.kubectl("apply", "-f", "-", stdin=NOTEBOOK)
    solo.kubectl("wait", "--for=condition=Ready", "pod/notebook", "--timeout=120s")
    yield solo
    solo.kubectl("delete", "pod/notebook", "pvc/home")


def test_it_runs_as_a_user_in_its_own_files(notebook: Platform) -> None:
    said = notebook.kubectl("logs", "notebook").splitlines()
    assert said[:2] == ["1000", "mine"]
    assert "sealed" in said


def test_describe_tells_what_it_is(notebook: Platform) -> None:
    told = notebook.kubectl("describe", "pod/notebook")
    for text in ("QoS Class:                   Burstable", "kube-api-access-", "Medium:     Memory",
                 "Started container notebook", "ContainersReady             True"):  # fmt: skip
        assert text in told


def test_programs_in_it_are_the_service_account(notebook: Platform) -> None:
    answer = notebook.kubectl("exec", "notebook", "--", "python", "-c", IN_CLUSTER)
    user = json.loads(answer)["status"]["userInfo"]
    assert user["username"] == "system:serviceaccount:default:default"
    told = notebook.kubectl("exec", "notebook", "--", "printenv", "KUBERNETES_SERVICE_HOST")
    service = notebook.object("service", "kubernetes")["spec"]
    assert (told.strip(), service["ports"][0]["name"]) == (service["clusterIP"], "https")


def test_it_can_be_debugged(notebook: Platform) -> None:
    command = ("debug", "notebook", "--image=busybox", "--target=notebook", "--container=look",
               "--profile=general", "--", "sh", "-c", "pgrep -a sleep")  # fmt: skip
    notebook.kubectl(*command)
    path = "{.status.ephemeralContainerStatuses[0].state.terminated.reason}"
    notebook.kubectl("wait", f"--for=jsonpath={path}=Completed", "pod/notebook", "--timeout=60s")
    assert "sleep 4321" in notebook.kubectl("logs", "notebook", "-c", "look")


def test_it_can_be_resized(notebook: Platform) -> None:
    resources = {"limits": {"memory": "300Mi"}}
    patch = {"spec": {"containers": [{"name": "notebook", "resources": resources}]}}
    notebook.kubectl("patch", "pod/notebook", "--subresource=resize", "-p", json.dumps(patch))
    path = "{.status.containerStatuses[0].resources.limits.memory}"
    notebook.kubectl("wait", f"--for=jsonpath={path}=300Mi", "pod/notebook", "--timeout=60s")
