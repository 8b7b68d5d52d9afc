"""Upstream's rules of what an InferenceService may say, case by case.

The cases are those of the tables in pkg/apis/serving/v1beta1/inference_service_validation_test.go
of kserve, in words of ours. Where this platform cannot do what upstream accepts (KEDA, confidential
models), it refuses, and that is said with the case.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.serving.services import CREATE, errors

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, deep_copy
from kubeling.serving.admission import ADMISSION
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.runtimes import RuntimeNotFound, select_runtime

MODEL = {"storageUri": "gs://testbucket/testmodel", "runtimeVersion": "0.14.0"}
OWN = {"name": "kserve-container", "image": "test/predictor:latest"}
TRANSFORMER = {"name": "transformer-container", "image": "test/transformer:latest"}
URI = [{"name": "STORAGE_URI", "value": "gs://test/model"}]
CPU = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
BARE_CPU = {"name": "cpu", "target": {"type": "Utilization"}}
MEMORY = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}


def isvc(
    predictor: Obj, annotations: dict[str, str] | None = None, name: str = "foo", **spec: Any
) -> Obj:
    found = {f"serving.kserve.io/{key}": value for key, value in (annotations or {}).items()}
    return {
        "apiVersion": INFERENCE_SERVICES.api_version,
        "kind": INFERENCE_SERVICES.kind,
        "metadata": {"name": name, "namespace": "default", "annotations": found},
        "spec": {"predictor": predictor, **spec},
    }


def scaled(metric: Obj) -> Obj:
    return {"tensorflow": MODEL, "autoScaling": {"metrics": [metric]}}


HPA = {"deploymentMode": "Standard", "autoscalerClass": "hpa"}


@pytest.mark.parametrize(
    ("predictor", "accepted"),
    [
        ({"tensorflow": MODEL, "scaleMetric": "cpu", "scaleTarget": 80}, True),
        (scaled({"type": "Resource", "resource": CPU}), True),
        (scaled({"type": "Resource", "resource": MEMORY}), True),
        (scaled({"type": "Resource", "resource": BARE_CPU}), True),
        (scaled({"type": "Resource"}), False),
        (scaled({"type": "External"}), False),
        (
            {
                "tensorflow": MODEL,
                "scaleMetric": "cpu",
                "scaleMetricType": "Utilization",
                "scaleTarget": 80,
            },
            True,
        ),
        (
            {
                "tensorflow": MODEL,
                "scaleMetric": "cpu",
                "scaleMetricType": "Utilization",
                "scaleTarget": 120,
            },
            False,
        ),
        ({"tensorflow": MODEL, "scaleMetric": "memory", "scaleTarget": 10}, True),
    ],
)
def test_scaling_by_an_hpa(predictor: Obj, accepted: bool) -> None:
    assert (not errors(isvc(predictor, HPA))) is accepted


@pytest.mark.parametrize("autoscaler", ["test", "kpa", "keda"])
def test_an_autoscaler_that_is_not_there_is_refused(autoscaler: str) -> None:
    """Upstream has KEDA; here there is none."""
    annotations = {"deploymentMode": "Standard", "autoscalerClass": autoscaler}
    assert errors(isvc({"tensorflow": MODEL}, annotations))


@pytest.mark.parametrize("part", ["predictor", "transformer", "explainer"])
@pytest.mark.parametrize(
    ("low", "high", "accepted"), [(-1, 0, False), (1, -1, False), (2, 1, False), (0, 0, True)]
)
def test_numbers_of_replicas(part: str, low: int, high: int, accepted: bool) -> None:
    others: dict[str, Obj] = {
        "transformer": {"containers": [{"image": "some-image"}]},
        "explainer": {"art": {"type": "SquareAttack", "storageUri": "gs://testbucket/testmodel"}},
    }
    spec = {part: others[part]} if part in others else {}
    obj = isvc({"tensorflow": MODEL}, **spec)
    obj["spec"][part] = {**obj["spec"][part], "minReplicas": low, "maxReplicas": high}
    assert (not errors(obj)) is accepted


@pytest.mark.parametrize(
    ("obj", "accepted"),
    [
        (isvc({"tensorflow": MODEL, "sklearn": MODEL}), False),
        (isvc({}), False),
        (isvc({"tensorflow": {**MODEL, "name": "mine"}}), False),
        (isvc({"tensorflow": MODEL, "containerConcurrency": -1}), False),
        (isvc({"tensorflow": MODEL, "serviceAccountName": "test"}), True),
        (isvc({"containers": [{"image": "golang", "env": [{"name": "A", "value": "b"}]}]}), True),
        (isvc({"tensorflow": MODEL}, transformer={}), False),
        (isvc({"tensorflow": MODEL}, explainer={}), False),
        (isvc({"tensorflow": MODEL}, explainer={"art": {"type": "SquareAttack"}}), True),
        (isvc({"tensorflow": MODEL}, name="abc-123"), True),
        (isvc({"tensorflow": MODEL}, name="1abcde"), False),
        (isvc({"tensorflow": MODEL}, name="abc.de"), False),
        (isvc({"tensorflow": MODEL, "deploymentStrategy": {"type": "Recreate"}}), True),
        (
            isvc(
                {"tensorflow": MODEL, "deploymentStrategy": {"type": "Recreate"}},
                {"deploymentMode": "Knative"},
            ),
            False,
        ),
    ],
)
def test_parts_and_names(obj: Obj, accepted: bool) -> None:
    assert (not errors(obj)) is accepted


@pytest.mark.parametrize(
    ("predictor", "accepted"),
    [
        ({"containers": [{**OWN, "env": URI}, {**TRANSFORMER, "env": URI}]}, False),
        ({"containers": [OWN, TRANSFORMER]}, True),
        ({"containers": [{**OWN, "env": URI}, TRANSFORMER]}, True),
        ({"tensorflow": MODEL, "containers": [TRANSFORMER]}, True),
        ({"tensorflow": MODEL, "containers": [{**TRANSFORMER, "env": URI}]}, False),
        ({"tensorflow": MODEL}, True),
        ({"containers": [{**OWN, "env": URI}]}, True),
    ],
)
def test_a_transformer_beside_the_predictor_has_no_model(predictor: Obj, accepted: bool) -> None:
    assert (not errors(isvc(predictor))) is accepted


@pytest.mark.parametrize(
    ("places", "accepted"),
    [
        ([("gs://bucket/model", "/mnt/models")], True),
        ([("s3://bucket/model", "/")], False),
        ([("", "/mnt/models")], False),
        ([("gs://bucket/model", "mnt/models")], False),
        ([("gs://b/1", "/mnt/models/1"), ("s3://b/2", "/mnt/models/2")], True),
        ([("gs://b/1", "/mnt/models"), ("s3://b/2", "/opt/models")], False),
        ([("gs://b/1", "/mnt/models"), ("", "/mnt/models/2")], False),
        ([("gs://b/1", "/mnt/models"), ("s3://b/2", "mnt/models/2")], False),
    ],
)
def test_places_of_models(places: list[tuple[str, str]], accepted: bool) -> None:
    uris = [{"uri": uri, "mountPath": path} for uri, path in places]
    model = {"modelFormat": {"name": "sklearn"}}
    assert (not errors(isvc({"model": model, "storageUris": uris}))) is accepted


def test_a_model_has_one_address_or_a_list_of_them() -> None:
    uris = [{"uri": "gs://b/1", "mountPath": "/mnt/models"}]
    assert errors(isvc({"sklearn": MODEL, "storageUris": uris}))


PATH = [{"name": "PYTHONPATH", "value": "/evil"}]


@pytest.mark.parametrize(
    "obj",
    [
        isvc({"sklearn": {**MODEL, "env": PATH}}),
        isvc({"containers": [{**OWN, "env": PATH}]}),
        isvc({"sklearn": MODEL, "containers": [{**TRANSFORMER, "env": PATH}]}),
        isvc({"containers": [OWN], "initContainers": [{"name": "i", "image": "i", "env": PATH}]}),
        isvc({"sklearn": MODEL}, transformer={"containers": [{"image": "t", "env": PATH}]}),
        isvc({"sklearn": MODEL}, explainer={"containers": [{"image": "e", "env": PATH}]}),
    ],
)
def test_no_container_is_led_to_other_modules(obj: Obj) -> None:
    assert any("PYTHONPATH" in error for error in errors(obj))


def canary(name: str, percent: int, **fields: Any) -> Obj:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": f"gs://test/{name or 'x'}"}
    named = {"name": name} if name else {}
    return {"trafficPercent": percent, "predictor": {**named, "model": model, **fields}}


def with_canaries(*canaries: Obj, low: int | None = 4, **fields: Any) -> Obj:
    stable: Obj = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://test/v1"}}
    stable |= {} if low is None else {"minReplicas": low}
    return isvc({**stable, **fields}, {"deploymentMode": "Standard"}, canary=list(canaries))


@pytest.mark.parametrize(
    ("obj", "accepted"),
    [
        (with_canaries(), True),
        (with_canaries(canary("v2", 10)), True),
        (with_canaries(canary("v2", 25), canary("v3", 25)), True),
        (with_canaries(canary("v2", 50), canary("v3", 50)), True),
        (with_canaries(canary("v2", 0)), True),
        (with_canaries(canary("", 10)), False),
        (with_canaries(canary("v2", 10), canary("v2", 20)), False),
        (with_canaries(canary("stable", 10), name="stable"), False),
        (with_canaries(canary("v2", 60), canary("v3", 50)), False),
        (with_canaries(canary("v2", 10, maxReplicas=5)), False),
        (with_canaries(canary("v2", 10, minReplicas=4)), True),
        (with_canaries(canary("v2", 10, minReplicas=5)), False),
        (with_canaries(canary("v2", 10, minReplicas=1), low=None), True),
        (with_canaries(canary("v2", 10, minReplicas=2), low=None), False),
        (with_canaries(canary("v2", 10), low=None), True),
        (with_canaries(canary("v2", 10, workerSpec={})), False),
        # Upstream wants a stable predictor with a model; here a canary may be of another kind.
        (
            isvc({"containers": [OWN]}, {"deploymentMode": "Standard"}, canary=[canary("v2", 10)]),
            True,
        ),
    ],
)
def test_canaries_beside_the_predictor(obj: Obj, accepted: bool) -> None:
    assert (not errors(obj)) is accepted


def changed(old: Obj, new: Obj) -> list[str]:
    """What is wrong with an update."""
    admission = ADMISSION[INFERENCE_SERVICES]
    assert admission.default is not None
    assert admission.validate is not None
    admission.default(old, CREATE)
    asked = AdmissionRequest(INFERENCE_SERVICES, "UPDATE")
    admission.default(new, asked)
    return [str(error) for error in admission.validate(new, old, asked)]


def named(name: str, uri: str) -> Obj:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": uri}
    return isvc({"name": name, "model": model} if name else {"model": model})


@pytest.mark.parametrize(
    ("old", "new", "accepted"),
    [
        (named("", "gs://test/v1"), named("v2", "gs://test/v2"), True),
        (named("", "gs://test/v1"), named("v2", "gs://test/v1"), False),
        (named("v2", "gs://test/v1"), named("v2", "gs://test/v2"), True),
        (named("v2", "gs://test/v1"), named("v2", "gs://test/v1"), True),
    ],
)
def test_a_predictors_name_changes_with_its_model(old: Obj, new: Obj, accepted: bool) -> None:
    assert (not changed(old, new)) is accepted


@pytest.mark.parametrize(
    ("recorded", "asked", "accepted"),
    [
        ("Standard", "Standard", True),
        ("Standard", "Knative", False),
        ("Knative", "Standard", False),
        ("", "Knative", True),
    ],
)
def test_the_mode_is_kept_once_the_status_has_it(recorded: str, asked: str, accepted: bool) -> None:
    old = isvc({"sklearn": MODEL}, {"deploymentMode": recorded} if recorded else {})
    old["status"] = {"deploymentMode": recorded} if recorded else {}
    new = deep_copy(old)
    new["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": asked}
    assert (not changed(old, new)) is accepted


def runtime(name: str, *formats: Obj, protocols: tuple[str, ...] = ("v2",), **spec: Any) -> Obj:
    return {
        "kind": "ClusterServingRuntime" if name.startswith("cluster-") else "ServingRuntime",
        "metadata": {"name": name},
        "spec": {
            "supportedModelFormats": list(formats),
            "protocolVersions": list(protocols),
            "containers": [{"name": "kserve-container", "image": f"{name}:latest"}],
            **spec,
        },
    }


def chosen(name: str, version: str, priority: int | None = None, auto: bool = True) -> Obj:
    ranked = {} if priority is None else {"priority": priority}
    return {"name": name, "version": version, "autoSelect": auto, **ranked}


BOTH = ("v1", "v2")
NAMESPACED = [
    runtime("tf", chosen("tensorflow", "1", 1), protocols=BOTH),
    runtime("sklearn", chosen("sklearn", "0", 1), protocols=BOTH),
    runtime("pmml", chosen("pmml", "4", 1, auto=False), protocols=BOTH, disabled=True),
    runtime("mlserver", chosen("sklearn", "0", 2), chosen("lightgbm", "3", 2)),
    runtime("triton", chosen("sklearn", "0"), chosen("triton", "1", 1), chosen("lightgbm", "3")),
    runtime("test", chosen("sklearn", "0")),
    runtime("many-nodes", chosen("huggingface", "1", 2), protocols=BOTH, workerSpec={}),
]
CLUSTER = [
    runtime("cluster-mms", chosen("sklearn", "0", 2), chosen("xgboost", "1", 2), multiModel=True),
    runtime("cluster-tf", chosen("tensorflow", "1", 1), protocols=BOTH),
    runtime("cluster-xgboost", chosen("xgboost", "0", 1)),
]


@pytest.mark.parametrize(
    ("wanted", "protocol", "expected"),
    [
        ("tensorflow", "", "tf"),
        ("nonexistent", "", ""),
        ("pmml", "", ""),
        ("sklearn", "", "sklearn"),
        ("sklearn", "v2", "mlserver"),
        ("xgboost", "v2", "cluster-xgboost"),
        ("xgboost", "v1", ""),
        ("lightgbm", "v2", "mlserver"),
        ("huggingface", "v2", ""),
    ],
)
def test_which_runtime_serves_a_model(wanted: str, protocol: str, expected: str) -> None:
    """From TestGetSupportingRuntimes; runtimes for several nodes serve no model on one."""
    model: Obj = {"modelFormat": {"name": wanted}, "storageUri": "s3://test/model"}
    model |= {"protocolVersion": protocol} if protocol else {}
    if expected:
        assert select_runtime(model, NAMESPACED, CLUSTER).name == expected
    else:
        with pytest.raises(RuntimeNotFound) as refused:
            select_runtime(model, NAMESPACED, CLUSTER)
        assert refused.value.reason == "NoSupportingRuntime"
