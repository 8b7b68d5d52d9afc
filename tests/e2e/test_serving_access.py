"""Who may ask a model, as the acceptance test of a Kubeflow distribution has it.

By host and by path; refused without a token, with a token that nobody issued, and with that of
another namespace.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from unittest import mock

import pytest
from tests.support.platform import Platform, started

from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.client import call
from kubeling.serving.server.grpc.messages import ServerLiveRequest
from kubeling.serving.server.grpc.methods import SERVER_LIVE

pytestmark = pytest.mark.e2e

PROGRAM = """
import http.server, json
class Model(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"predictions": [1, 1]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Model).serve_forever()
"""
NOBODY = "nobody.issued.this"
GROUP = "serving.kserve.io"


def profile(name: str) -> dict[str, object]:
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "Profile",
        "metadata": {"name": name},
        "spec": {"owner": {"kind": "User", "name": f"{name}@example.com"}},
    }


MODEL = {
    "apiVersion": f"{GROUP}/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "iris", "namespace": "ann"},
    "spec": {
        "predictor": {
            "containers": [{"image": "python:3.11", "command": ["python", "-c", PROGRAM]}]
        }
    },
}
GRAPH = {
    "apiVersion": f"{GROUP}/v1alpha1",
    "kind": "InferenceGraph",
    "metadata": {"name": "chain", "namespace": "ann"},
    "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": [{"serviceName": "iris"}]}}},
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("workspace")
    with (
        mock.patch.dict(os.environ, {"KUBELING_SERVING_AUTHENTICATION": "true"}),
        started(tmp_path_factory.mktemp("platform") / "data", workspace) as platform,
    ):
        for name in ("ann", "ben"):
            platform.kubectl("apply", "-f", "-", stdin=json.dumps(profile(name)))
            for kind in ("serviceaccount", "rolebinding"):
                there = ("--for=create", "-n", name, "--timeout=120s")
                platform.kubectl("wait", f"{kind}/default-editor", *there)
        for obj in (MODEL, GRAPH):
            platform.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        for kind, name in (("isvc", "iris"), ("inferencegraph", "chain")):
            wait = ("--for=condition=Ready", "--timeout=120s")
            platform.kubectl("wait", kind, name, "-n", "ann", *wait)
        yield platform


def asked(platform: Platform, path: str, host: str = "", token: str = "") -> int:
    """The status that a prediction is answered with."""
    headers = {"Content-Type": "application/json"}
    headers |= {"Host": host} if host else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    body = json.dumps({"instances": [[1, 2]]}).encode()
    request = urllib.request.Request(f"{platform.url}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer) == {"predictions": [1, 1]}
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def token_of(platform: Platform, namespace: str) -> str:
    return platform.kubectl("create", "token", "default-editor", "-n", namespace).strip()


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/serving/ann/iris/v1/models/iris:predict", ""),
        ("/v1/models/iris:predict", "iris-ann.example.com"),
        ("/v1/models/iris:predict", "iris.ann.example.com"),
        ("/serving/ann/chain", ""),
        ("/", "chain-ann.example.com"),
    ],
)
def test_only_who_may_see_a_model_may_ask_it(platform: Platform, path: str, host: str) -> None:
    own, other = token_of(platform, "ann"), token_of(platform, "ben")
    assert asked(platform, path, host, own) == 200
    assert asked(platform, path, host) == 403
    assert asked(platform, path, host, NOBODY) == 401
    assert asked(platform, path, host, other) == 403
    # Whoever asked before makes no difference to who asks next on the same port.
    assert asked(platform, path, host, own) == 200


async def test_the_same_holds_for_grpc(platform: Platform) -> None:
    refusals = {}
    for who, token in (("nobody", ""), ("a stranger", NOBODY), ("ben", token_of(platform, "ben"))):
        metadata = {"x-forwarded-host": "iris-ann.example.com"}
        metadata |= {"authorization": f"Bearer {token}"} if token else {}
        with pytest.raises(RpcError) as refused:
            await call(platform.url, SERVER_LIVE, ServerLiveRequest(), metadata=metadata)
        refusals[who] = refused.value.code
    assert refusals == {
        "nobody": Code.PERMISSION_DENIED,
        "a stranger": Code.UNAUTHENTICATED,
        "ben": Code.PERMISSION_DENIED,
    }


@pytest.mark.parametrize(
    ("method", "page", "answer"),
    [("GET", "requests", 200), ("POST", "requests", 202), ("GET", "drift", 200)],
)
def test_only_who_may_ask_a_model_sees_and_says_what_it_was_asked(
    platform: Platform, method: str, page: str, answer: int
) -> None:
    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{platform.url}/api/serving/ann/iris/{page}"
        body = b"[]" if method == "POST" else None
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answered:
                return int(answered.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    assert status(token_of(platform, "ann")) == answer
    assert status("") == 403
    assert status(token_of(platform, "ben")) == 403


def test_the_page_of_a_model_says_that_the_dashboard_may_not_ask(platform: Platform) -> None:
    page = "/objects/serving.kserve.io/v1beta1/InferenceService/ann/iris/drift"
    with urllib.request.urlopen(platform.url + page, timeout=60) as found:
        text = found.read().decode()
    assert "Monitoring cannot be asked: this gateway asks who you are: send a token" in text
    assert "no requests" not in text


def test_the_command_line_asks_as_an_account_that_may(platform: Platform) -> None:
    request = '{"instances": [[1, 2]]}'
    for name in ("iris", "chain"):
        answer = platform.kubeling("predict", name, "-n", "ann", request).stdout
        assert json.loads(answer) == {"predictions": [1, 1]}
    line = platform.kubeling("serve", "iris", "-n", "ann", "--curl").stdout
    assert "create token default-editor -n ann" in line
    asked = platform.run("bash", "-c", f"{line.strip()} -d '{request}' -s").stdout
    assert json.loads(asked) == {"predictions": [1, 1]}


def test_the_command_line_says_how_an_account_gets_to_ask(platform: Platform) -> None:
    model = {**MODEL, "metadata": {"name": "iris", "namespace": "default"}}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(model))
    platform.kubectl("wait", "isvc", "iris", "--for=condition=Ready", "--timeout=120s")
    line = platform.kubeling("serve", "iris", "--curl")
    refused = platform.kubeling("predict", "iris", "[[1, 2]]", check=False)
    for told in (line.stderr, refused.stderr):
        grant = told.partition("Let it ask: ")[2].strip()
        assert grant.startswith("kubectl create rolebinding default-asks-models")
    platform.run("bash", "-c", grant)
    # A judgement is kept for a moment; a token of its own is judged anew.
    answer = platform.kubeling("predict", "iris", "[[1, 2]]").stdout
    assert json.loads(answer) == {"predictions": [1, 1]}
