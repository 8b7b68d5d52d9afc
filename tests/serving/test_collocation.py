"""A transformer beside the model, in the predictor's own pods: requests come to it first.

Upstream: the tables of the service reconciler, the agent injector and the storage initializer for
a container called ``transformer-container``.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.serving.services import service

from kubeling.kube.objects import Obj
from kubeling.serving import templates
from kubeling.serving.arguments import model_name
from kubeling.serving.credentials import Access
from kubeling.serving.runtimes import builtin_runtimes, select_runtime
from kubeling.serving.workloads import Ports, ports_of

BESIDE: Obj = {
    "name": "transformer-container",
    "image": "t",
    "args": ["--model_name=digits", "--predictor_host=localhost:8085"],
    "ports": [{"containerPort": 9000}],
}
OWN = {
    "name": "kserve-container",
    "image": "s",
    "env": [{"name": "STORAGE_URI", "value": "gs://b/m"}],
}


def template(**predictor: Any) -> Any:
    isvc = service(predictor=predictor)
    model = isvc["spec"]["predictor"].get("model")
    runtime = select_runtime(model, [], builtin_runtimes()) if model else None
    return templates.predictor(isvc, runtime, Access())


def containers(made: Any) -> dict[str, Any]:
    return {container["name"]: container for container in made["spec"]["containers"]}


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (BESIDE, Ports(9000)),
        ({**BESIDE, "ports": []}, Ports(8080)),
        ({**BESIDE, "ports": [{"containerPort": 9001, "name": "grpc"}]}, Ports(9001, 9001)),
    ],
)
def test_requests_come_to_the_transformer(beside: Obj, expected: Ports) -> None:
    made = template(containers=[OWN, beside])
    assert ports_of(made) == expected


def test_a_built_in_server_leaves_its_port_to_the_transformer() -> None:
    model = {"storageUri": "gs://b/m", "args": ["--http_port=8085"]}
    made = template(sklearn=model, containers=[{**BESIDE, "ports": [{"containerPort": 8080}]}])
    found = containers(made)
    assert found["kserve-container"]["ports"][0]["containerPort"] == 8085
    assert found["kserve-container"]["readinessProbe"]["httpGet"]["port"] == 8085
    assert ports_of(made).main == 8080


@pytest.mark.parametrize("uri", ["gs://b/m", "pvc://claim/m", "oci+native://registry/m:1"])
def test_both_containers_see_the_model(uri: str) -> None:
    env = [{"name": "STORAGE_URI", "value": uri}]
    found = containers(template(containers=[{**OWN, "env": env}, BESIDE]))
    places = [found[title]["volumeMounts"][0]["mountPath"] for title in found]
    assert places == ["/mnt/models", "/mnt/models"]


def test_both_containers_have_to_be_ready() -> None:
    found = containers(template(containers=[OWN, BESIDE]))
    assert {c["readinessProbe"]["tcpSocket"]["port"] for c in found.values()} == {9000}


def test_what_is_recorded_is_what_clients_ask() -> None:
    model = {"storageUri": "gs://b/m"}
    logger = {"url": "http://sink", "mode": "all"}
    found = containers(template(sklearn=model, containers=[BESIDE], logger=logger))
    assert "--target=http://$(POD_IP):9000" in found["request-agent"]["args"]
    assert not any("sink" in argument for argument in found["kserve-container"]["args"])


def test_clients_ask_for_the_model_by_the_transformers_name() -> None:
    isvc = service(predictor={"containers": [OWN, BESIDE]})
    assert model_name(isvc) == "digits"
