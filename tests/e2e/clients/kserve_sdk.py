"""What users of ``kserve``'s ``KServeClient`` do: services and graphs from creation to deletion."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from kserve import (
    KServeClient,
    V1alpha1InferenceGraph,
    V1alpha1InferenceGraphSpec,
    V1alpha1InferenceRouter,
    V1alpha1InferenceStep,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1PredictorSpec,
    constants,
)
from kubernetes import client as k8s

NAMESPACE = "default"
GATEWAY = urlsplit(os.environ["KF_PIPELINES_ENDPOINT"])
SERVER = """
import http.server, json, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"name": "m", "ready": True, "predictions": [sys.argv[1]]}).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
http.server.ThreadingHTTPServer(("", 8080), Answers).serve_forever()
"""
FAST = {"namespace": NAMESPACE, "timeout_seconds": 120, "polling_interval": 0.3}


@pytest.fixture(scope="module")
def kserve() -> KServeClient:
    return KServeClient(config_file=os.environ["KUBECONFIG"])


@pytest.fixture
def title(kserve: KServeClient) -> Iterator[str]:
    """A name; what has it is deleted afterwards."""
    found = f"m-{uuid.uuid4().hex[:6]}"
    yield found
    for delete in (kserve.delete, kserve.delete_inference_graph):
        try:
            delete(found, NAMESPACE)
        except RuntimeError:
            continue


def service(name: str, says: str, **fields: Any) -> V1beta1InferenceService:
    container = k8s.V1Container(
        name="kserve-container", image="python:3.11", command=["python", "-c", SERVER, says]
    )
    return V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1,
        kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=k8s.V1ObjectMeta(name=name, namespace=NAMESPACE),
        spec=V1beta1InferenceServiceSpec(
            predictor=V1beta1PredictorSpec(containers=[container], **fields)
        ),
    )


def ask(obj: dict[str, Any], path: str) -> Any:
    """Asks as upstream's own tests do: at the ingress, by the host in the status."""
    host = urlsplit(obj["status"]["url"]).netloc
    answer = httpx.post(
        f"{GATEWAY.geturl()}{path}", json={"instances": [1]}, headers={"Host": host}, timeout=60
    )
    answer.raise_for_status()
    return answer.json()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.3)


def test_a_service_from_creation_to_deletion(kserve: KServeClient, title: str) -> None:
    created = kserve.create(service(title, "one"))
    assert created["spec"]["predictor"]["minReplicas"] == 1
    kserve.wait_isvc_ready(title, **FAST)
    assert kserve.is_isvc_ready(title, NAMESPACE)
    isvc = kserve.get(title, NAMESPACE)
    assert ask(isvc, f"/v1/models/{title}:predict")["predictions"] == ["one"]
    kserve.wait_model_ready(
        title,
        model_name=title,
        isvc_namespace=NAMESPACE,
        isvc_version=constants.KSERVE_V1BETA1_VERSION,
        cluster_ip=GATEWAY.netloc,
        protocol_version="v1",
        timeout_seconds=60,
        polling_interval=0.3,
    )
    kserve.patch(title, service(title, "two", canary_traffic_percent=50))
    until(lambda: len(_traffic(kserve, title)) == 2)
    said = {ask(isvc, "/")["predictions"][0] for _ in range(4)}
    assert said == {"one", "two"}

    kserve.replace(title, service(title, "three"))
    until(lambda: list(_traffic(kserve, title).values()) == [100])
    until(lambda: ask(isvc, "/")["predictions"] == ["three"])
    assert title in [item["metadata"]["name"] for item in kserve.get(namespace=NAMESPACE)["items"]]
    kserve.delete(title, NAMESPACE)
    with pytest.raises(RuntimeError):
        kserve.get(title, NAMESPACE)


def _traffic(kserve: KServeClient, title: str) -> dict[str, int]:
    status = kserve.get(title, NAMESPACE)["status"]
    return {t["revisionName"]: t["percent"] for t in status["components"]["predictor"]["traffic"]}


def test_a_watch_shows_a_service_become_ready(
    kserve: KServeClient, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kserve.create(service(title, "one"), watch=True, timeout_seconds=120)
    said = capsys.readouterr().out
    assert title in said
    assert "True" in said


def test_a_graph_from_creation_to_deletion(kserve: KServeClient, title: str) -> None:
    for part in ("a", "b"):
        kserve.create(service(f"{title}-{part}", part))
    steps = [
        V1alpha1InferenceStep(name=part, service_name=f"{title}-{part}") for part in ("a", "b")
    ]
    root = V1alpha1InferenceRouter(router_type="Ensemble", steps=steps)
    graph = V1alpha1InferenceGraph(
        api_version=constants.KSERVE_V1ALPHA1,
        kind=constants.KSERVE_KIND_INFERENCEGRAPH,
        metadata=k8s.V1ObjectMeta(name=title, namespace=NAMESPACE),
        spec=V1alpha1InferenceGraphSpec(nodes={"root": root}),
    )
    kserve.create_inference_graph(graph)
    kserve.wait_ig_ready(title, **FAST)
    found = kserve.get_inference_graph(title, NAMESPACE)
    merged = ask(found, "/")
    assert {part: answer["predictions"] for part, answer in merged.items()} == {
        "a": ["a"],
        "b": ["b"],
    }
    kserve.delete_inference_graph(title, NAMESPACE)
    for part in ("a", "b"):
        kserve.delete(f"{title}-{part}", NAMESPACE)


def test_credentials_become_a_secret_of_the_service_account(
    kserve: KServeClient, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    # The package sends the keys as if they were base64 already, so they have to read as such.
    file.write_text("[default]\naws_access_key_id = AKIAEXAMPLE1\naws_secret_access_key = abcd\n")
    account = f"models-{uuid.uuid4().hex[:6]}"
    kserve.set_credentials(
        storage_type="S3",
        namespace=NAMESPACE,
        credentials_file=str(file),
        service_account=account,
        s3_profile="default",
        s3_endpoint="store:9000",
        s3_region="eu",
        s3_use_https="0",
        s3_verify_ssl="0",
    )
    core = k8s.CoreV1Api()
    found = core.read_namespaced_service_account(account, NAMESPACE)
    secret = core.read_namespaced_secret(found.secrets[0].name, NAMESPACE)
    assert secret.data["AWS_ACCESS_KEY_ID"] == "AKIAEXAMPLE1"
    assert secret.metadata.annotations["serving.kserve.io/s3-endpoint"] == "store:9000"
