"""Runtimes of one's own under a service: what each of the two says of the pod, merged.

The cases are those of upstream's tables of MergeRuntimeContainers, MergePodSpec, UpdateImageTag,
ReplacePlaceholders and SetRuntimeDefaults, with data of ours.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.serving.services import service

from kubeling.kube.objects import Obj
from kubeling.serving import templates
from kubeling.serving.credentials import Access
from kubeling.serving.runtimes import builtin_runtimes, select_runtime

MAIN = {"name": "kserve-container", "image": "registry:5000/acme/server:1.2", "args": ["--a"]}


def runtime(
    *beside: Obj, name: str = "acme", kind: str = "", main: Obj | None = None, **pod: Any
) -> Obj:
    """A runtime for everything of the format ``acme``, by default with one container."""
    formats = ("sklearn", "xgboost", "acme")
    return {
        "kind": "ServingRuntime",
        "metadata": {
            "name": name,
            "annotations": {"serving.kserve.io/server-type": kind} if kind else {},
        },
        "spec": {
            "supportedModelFormats": [{"name": title} for title in formats],
            "protocolVersions": ["v1", "v2"],
            "containers": [{**MAIN, **(main or {})}, *beside],
            **pod,
        },
    }


def template(made: Obj, model: Obj | None = None, **component: Any) -> Obj:
    """What a model of the runtime becomes."""
    content = {"modelFormat": {"name": "acme"}, "storageUri": "gs://b/m", **(model or {})}
    content["runtime"] = made["metadata"]["name"]
    isvc = service(predictor={"model": content, **component})
    isvc["metadata"]["labels"] = {"team": "blue"}
    found = select_runtime(isvc["spec"]["predictor"]["model"], [made], [])
    return templates.predictor(isvc, found, Access())


def pod_of(made: Obj, model: Obj | None = None, **component: Any) -> Any:
    return template(made, model, **component)["spec"]


def server(made: Obj, model: Obj | None = None, **component: Any) -> Any:
    return pod_of(made, model, **component)["containers"][0]


def variables(container: Obj) -> dict[str, Any]:
    return {v["name"]: v.get("value") for v in container["env"]}


def test_what_the_service_says_of_resources_is_added_to_the_runtimes() -> None:
    given = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
    made = runtime(main={"resources": given})
    found = server(made, {"resources": {"limits": {"memory": "4Gi", "nvidia.com/gpu": 1}}})
    assert found["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"cpu": "1", "memory": "4Gi", "nvidia.com/gpu": 1},
    }


def test_a_limit_below_the_runtimes_request_lowers_the_request() -> None:
    made = runtime(main={"resources": {"requests": {"cpu": "1", "memory": "2Gi"}}})
    found = server(made, {"resources": {"limits": {"memory": "500Mi"}}})["resources"]
    assert found["requests"] == {"cpu": "1", "memory": "500Mi"}


def test_variables_and_arguments_come_behind_the_runtimes() -> None:
    made = runtime(main={"env": [{"name": "PORT", "value": "1"}, {"name": "X", "value": "1"}]})
    own = [{"name": "PORT", "value": "2"}, {"name": "URL", "value": "http://x:$(X)"}]
    found = server(made, {"env": own, "args": ["--b"]})
    assert found["args"] == ["--a", "--b"]
    assert variables(found)["PORT"] == "2"
    named = list(variables(found))
    assert named.index("X") < named.index("URL")


def test_a_probe_keeps_the_runtimes_pace_and_has_one_handler() -> None:
    probe = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
    made = runtime(main={"readinessProbe": probe})
    slower = server(made, {"readinessProbe": {"failureThreshold": 60}})
    assert slower["readinessProbe"] == {**probe, "failureThreshold": 60}
    other = server(made, {"readinessProbe": {"exec": {"command": ["true"]}}})
    assert other["readinessProbe"] == {"exec": {"command": ["true"]}, "periodSeconds": 1}


def test_volumes_and_selectors_of_both_are_there() -> None:
    shared = {"name": "shm", "emptyDir": {"medium": "Memory"}}
    data = {"name": "data", "emptyDir": {}}
    made = runtime(
        volumes=[shared, data],
        nodeSelector={"disk": "ssd", "zone": "a"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        imagePullSecrets=[{"name": "first"}],
    )
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}
    mine = {"name": "mine", "emptyDir": {}}
    found = pod_of(
        made,
        volumes=[claim, mine],
        nodeSelector={"zone": "b"},
        imagePullSecrets=[{"name": "first"}, {"name": "second"}],
    )
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert [volumes[title] for title in ("shm", "data", "mine")] == [shared, claim, mine]
    assert found["nodeSelector"] == {"disk": "ssd", "zone": "b"}
    assert found["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert {entry["name"] for entry in found["imagePullSecrets"]} == {"first", "second"}


def test_a_container_beside_the_server_is_merged_by_its_name() -> None:
    beside = {"name": "transformer-container", "image": "t:1", "args": ["--x", "{{.Name}}"]}
    own = {"name": "transformer-container", "image": "t:2", "args": ["--team={{.Labels.team}}"]}
    other = {"name": "other", "image": "o", "args": ["{{ .Name }}"]}
    found = pod_of(runtime(beside), containers=[own, other])["containers"]
    assert [(c["name"], c["image"]) for c in found[1:]] == [
        ("transformer-container", "t:2"),
        ("other", "o"),
    ]
    assert found[1]["args"] == ["--x", "iris", "--team=blue"]
    assert found[2]["args"] == ["{{ .Name }}"]


def test_placeholders_are_filled_in_where_the_service_wrote_them_too() -> None:
    found = server(runtime(), {"args": ["--name={{.Name}}-{{ .Labels.team }}"]})
    assert found["args"] == ["--a", "--name=iris-blue"]


GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
SLICE = {"resources": {"limits": {"nvidia.com/mig-1g.5gb": "1"}}}


@pytest.mark.parametrize(
    ("image", "name", "kind", "model", "expected"),
    [
        ("host:5000/s", "any", "", {"runtimeVersion": "2"}, "host:5000/s:2"),
        ("host:5000/s:1", "any", "", {"runtimeVersion": "2"}, "host:5000/s:2"),
        ("s@sha256:aa", "any", "", {"runtimeVersion": "2"}, "s@sha256:aa"),
        ("tf:1", "kserve-tensorflow-serving", "", GPU, "tf:1-gpu"),
        ("tf:1-gpu", "kserve-tensorflow-serving", "", GPU, "tf:1-gpu"),
        ("tf:1", "kserve-tensorflow-serving", "", {}, "tf:1"),
        ("host:5000/hf:1", "any", "huggingfaceserver", SLICE, "host:5000/hf:1-gpu"),
        ("v/openai:1", "any", "vllmserver", {}, "v/openai-cpu:1"),
        ("v/openai:1", "any", "vllmserver", GPU, "v/openai:1"),
        ("v/openai", "kserve-vllmserver", "", {}, "v/openai"),
        ("v/openai:1", "kserve-mlserver", "vllmserver", {}, "v/openai-cpu:1"),
        ("v/openai:1", "kserve-vllmserver", "", {"runtimeVersion": "2"}, "v/openai:2"),
        ("v/openai:1", "any", "", GPU, "v/openai:1"),
    ],
)
def test_which_build_of_an_image_serves(
    image: str, name: str, kind: str, model: Obj, expected: str
) -> None:
    made = runtime(name=name, kind=kind, main={"image": image})
    assert server(made, model)["image"] == expected


@pytest.mark.parametrize(
    ("title", "kind"),
    [("acme", "mlserver_sklearn.SKLearnModel"), ("xgboost", "mlserver_xgboost.XGBoostModel")],
)
def test_mlserver_is_told_which_model_it_serves(title: str, kind: str) -> None:
    made = runtime(
        kind="mlserver", main={"env": [{"name": "KIND", "value": "{{.Labels.modelClass}}"}]}
    )
    found = template(made, {"modelFormat": {"name": title}})
    assert found["metadata"]["labels"]["modelClass"] == kind
    assert found["metadata"]["labels"]["team"] == "blue"
    told = variables(found["spec"]["containers"][0])
    assert (told["KIND"], told["MLSERVER_MODEL_NAME"]) == (kind, "iris")
    assert told["MLSERVER_MODEL_URI"] == "/mnt/models"
    own = {"env": [{"name": "MLSERVER_MODEL_NAME", "value": "mine"}]}
    assert variables(server(made, own))["MLSERVER_MODEL_NAME"] == "mine"
    without = variables(server(made, {"storageUri": None}))
    assert without["MLSERVER_LOAD_MODELS_AT_STARTUP"] == "false"


@pytest.mark.parametrize(("protocol", "expected"), [("v1", "kserve"), ("v2", "kservev2")])
def test_torchserve_is_told_how_requests_are_wrapped(protocol: str, expected: str) -> None:
    made = runtime(name="kserve-torchserve")
    found = template(made, {"protocolVersion": protocol})
    assert found["metadata"]["labels"]["serviceEnvelope"] == expected
    assert variables(found["spec"]["containers"][0])["PROTOCOL_VERSION"] == protocol


@pytest.mark.parametrize(("uri", "told"), [(None, True), ("gs://b/m", False)])
def test_triton_without_a_model_waits_to_be_given_some(uri: str | None, told: bool) -> None:
    arguments = server(runtime(kind="tritonserver"), {"storageUri": uri})["args"]
    assert ("--model-control-mode=explicit" in arguments) is told


def test_our_own_server_needs_none_of_that_whatever_its_runtime_is_called() -> None:
    isvc = service(predictor={"pytorch": {"storageUri": "gs://b/m", **GPU}})
    found = select_runtime(isvc["spec"]["predictor"]["model"], [], builtin_runtimes())
    assert found.name == "kserve-torchserve"
    made = templates.predictor(isvc, found, Access())
    assert "serviceEnvelope" not in made["metadata"]["labels"]
    assert made["spec"]["containers"][0]["image"] == "kubeling/model-server:pytorch"
