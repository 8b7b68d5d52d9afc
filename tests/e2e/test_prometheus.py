"""Prometheus as Debian ships it, reading figures through the API server with a token of its own.

Debian builds it without Kubernetes discovery, so what that asks for is asked here in its words.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.debian import debian_program
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: metrics}
---
apiVersion: v1
kind: Pod
metadata: {name: site, namespace: metrics}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: python:3.11
    workingDir: /tmp
    command: [sh, -ec, "echo answer 42 > metrics; exec python3 -u -m http.server 18765"]
    ports: [{containerPort: 18765}]
    readinessProbe: {tcpSocket: {port: 18765}, periodSeconds: 1}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: metrics}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus}
rules:
- apiGroups: ["", discovery.k8s.io, networking.k8s.io]
  resources: [pods, services, endpoints, endpointslices, nodes, ingresses]
  verbs: [get, list, watch]
- {apiGroups: [""], resources: [pods/proxy], verbs: [get]}
- {nonResourceURLs: [/metrics], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: metrics}]
"""

DISCOVERED = (
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/endpoints",
    "/api/v1/nodes",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/networking.k8s.io/v1/ingresses",
)


class Access:
    """The way to the API server of an account that may read figures and nothing else."""

    def __init__(self, platform: Platform) -> None:
        cluster = yaml.safe_load(Path(platform.endpoints["kubeconfig"]).read_text())["clusters"][0]
        self.server: str = cluster["cluster"]["server"]
        authority = cluster["cluster"]["certificate-authority-data"]
        self.authority = base64.b64decode(authority).decode()
        self.token = platform.kubectl("create", "token", "prometheus", "-n", "metrics").strip()

    def get(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The objects, one a line, that an informer made for protobuf is given."""
        request = urllib.request.Request(
            f"{self.server}{path}?{urllib.parse.urlencode(query)}",
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/vnd.kubernetes.protobuf, */*",
            },
        )
        context = ssl.create_default_context(cadata=self.authority)
        with urllib.request.urlopen(request, timeout=20, context=context) as response:
            return [json.loads(line) for line in response]


@pytest.fixture(scope="module")
def access(solo: Platform) -> Iterator[Access]:
    """A pod with figures to read, and the account that reads them."""
    solo.kubectl("apply", "-f", "-", stdin=OBJECTS)
    try:
        where = ("pod/site", "-n", "metrics", "--timeout=30s")
        solo.kubectl("wait", "--for=condition=Ready", *where)
        yield Access(solo)
    finally:
        for kind in (
            "namespace/metrics",
            "clusterrole/prometheus",
            "clusterrolebinding/prometheus",
        ):
            solo.kubectl("delete", kind)


@pytest.fixture
def prometheus(access: Access, tmp_path: Path) -> Iterator[str]:
    """The address of a running Prometheus."""
    program = debian_program("prometheus")
    if program is None:
        pytest.skip("Prometheus comes from Debian's archive, which needs apt-get")
    (tmp_path / "ca.crt").write_text(access.authority)
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration(access)))
    address = free_address()
    command = [
        str(program),
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield address
        finally:
            process.kill()
            process.wait()


def configuration(access: Access) -> dict[str, Any]:
    """Two jobs: the API server's own figures, and a pod's through its proxy."""
    url = urllib.parse.urlsplit(access.server)
    proxied = "/api/v1/namespaces/metrics/pods/site:18765/proxy/metrics"
    jobs = [
        {
            "job_name": name,
            "scheme": "https",
            "metrics_path": path,
            "scrape_interval": "500ms",
            "scrape_timeout": "500ms",
            "authorization": {"credentials": access.token},
            "tls_config": {"ca_file": "ca.crt"},
            "static_configs": [{"targets": [url.netloc]}],
        }
        for name, path in (("api", "/metrics"), ("site", proxied))
    ]
    return {"scrape_configs": jobs}


def free_address() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def until_scraped(solo: Platform, times: int) -> None:
    """Follows the pod's log until its page was read so often."""
    command = ["timeout", "30", "kubectl", "logs", "-f", "site", "-n", "metrics"]
    with subprocess.Popen(
        command, env=solo.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as following:
        assert following.stdout is not None
        for line in following.stdout:
            times -= '"GET /metrics ' in line
            if not times:
                break
        following.terminate()
    assert not times, "Prometheus never read the page"


def asked(address: str, query: str) -> list[str]:
    url = f"http://{address}/api/v1/query?query={urllib.parse.quote(query)}"
    with urllib.request.urlopen(url, timeout=10) as response:
        return [answer["value"][1] for answer in json.load(response)["data"]["result"]]


def test_figures_are_scraped_with_a_token(solo: Platform, prometheus: str) -> None:
    until_scraped(solo, 3)
    assert asked(prometheus, "up") == ["1", "1"]
    assert asked(prometheus, "answer") == ["42"]
    assert int(asked(prometheus, "sum(apiserver_request_total)")[0]) > 0


@pytest.mark.parametrize("path", DISCOVERED)
def test_an_informer_made_for_protobuf_is_served_json(access: Access, path: str) -> None:
    (listed,) = access.get(path, limit="500", resourceVersion="0")
    events = access.get(
        path,
        watch="true",
        allowWatchBookmarks="true",
        resourceVersion=listed["metadata"]["resourceVersion"],
        timeoutSeconds="1",
    )
    assert events[-1]["type"] == "BOOKMARK"


def test_what_its_role_does_not_name_is_refused(access: Access) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        access.get("/api/v1/secrets")
    assert refused.value.code == 403
