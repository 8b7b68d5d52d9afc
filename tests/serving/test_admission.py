"""What is filled in and refused at ``kubectl apply``."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.serving.services import admit, errors, service

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj
from kubeling.serving.admission import default_service, validate_service
from kubeling.serving.annotation_rules import warn_of_annotations
from kubeling.serving.names import MONITORING, ROLLBACK_DRIFT
from kubeling.serving.resources import INFERENCE_SERVICES, SERVING_RUNTIMES
from kubeling.serving.runtime_rules import validate_runtime


def isvc(predictor: Any, name: str = "iris", **spec: Any) -> Obj:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictor": predictor, **spec},
    }


def test_a_framework_field_is_read_back_as_model() -> None:
    found = service(predictor={"sklearn": {"storageUri": "gs://b/m", "env": []}})
    assert found["spec"]["predictor"] == {
        "model": {
            "modelFormat": {"name": "sklearn"},
            "protocolVersion": "v1",
            "storageUri": "gs://b/m",
            "env": [],
        },
        "minReplicas": 1,
    }
    assert found["metadata"]["annotations"] == {"modelFormat": "sklearn"}


def test_onnx_speaks_v2_unless_told_otherwise() -> None:
    found = service(predictor={"onnx": {"storageUri": "gs://b/m"}})
    assert found["spec"]["predictor"]["model"]["protocolVersion"] == "v2"
    found = service(predictor={"onnx": {"storageUri": "gs://b/m", "protocolVersion": "v1"}})
    assert found["spec"]["predictor"]["model"]["protocolVersion"] == "v1"


def test_applying_a_changed_framework_field_replaces_the_model_it_became() -> None:
    obj = service()
    obj["spec"]["predictor"]["sklearn"] = {"storageUri": "gs://bucket/v2"}
    default_service(obj, AdmissionRequest(INFERENCE_SERVICES, "UPDATE"))
    assert obj["spec"]["predictor"]["model"] == {
        "modelFormat": {"name": "sklearn"},
        "protocolVersion": "v1",
        "storageUri": "gs://bucket/v2",
    }


def test_admission_is_idempotent() -> None:
    once = service()
    twice = service(predictor=dict(once["spec"]["predictor"]))
    assert once == twice


@pytest.mark.parametrize(
    ("predictor", "expected"),
    [
        ({}, "spec.predictor: Required value: give one of model, containers"),
        (
            {"sklearn": {"storageUri": "gs://b/m"}, "xgboost": {"storageUri": "gs://b/m"}},
            "spec.predictor: Invalid value: ",
        ),
        (
            {"sklearn": {"storageUri": "models/iris"}},
            'spec.predictor.model.storageUri: Invalid value: "models/iris": a plain path must be',
        ),
        (
            {"sklearn": {"storageUri": "gs://b", "confidential": {"enabled": True}}},
            "spec.predictor.model.confidential.enabled: Forbidden: needs a key broker and a "
            "trusted execution environment; serve the model decrypted",
        ),
        (
            {"sklearn": {"storageUri": "gs://b"}, "scaleMetricType": "Value"},
            'spec.predictor.scaleMetricType: Unsupported value: "Value": supported: Utilization, '
            "AverageValue (what is measured is each pod's)",
        ),
        (
            {"sklearn": {"storageUri": "gs://b"}, "canaryTrafficPercent": 101},
            "spec.predictor.canaryTrafficPercent: Invalid value: 101: must be between 0 and 100",
        ),
        (
            {"sklearn": {"storageUri": "gs://b"}, "minReplicas": 3, "maxReplicas": 2},
            "spec.predictor.maxReplicas: Invalid value: 2: may not be less than minReplicas (3)",
        ),
        (
            {"sklearn": {"storageUri": "gs://b"}, "logger": {"mode": "some"}},
            'spec.predictor.logger.mode: Unsupported value: "some": supported: all, request',
        ),
        (
            {"model": {"storageUri": "gs://b/m"}},
            "spec.predictor.model.modelFormat.name: Required value: name the format",
        ),
        (
            {"containers": [{"args": ["x"]}]},
            "spec.predictor.containers[0].image: Required value: name the image to run",
        ),
        (
            {"sklearn": {"storageUri": "gs://b/m"}, "containers": [{"image": "x"}]},
            "spec.predictor.containers[0].name: Required value: it is not alone in its pod",
        ),
        (
            {"containers": [{"image": "x", "name": "kserve-container"}, {"image": "y"}]},
            "spec.predictor.containers[1].name: Required value: it is not alone in its pod",
        ),
        (
            {"containers": [{"image": "x", "env": [{"name": "PYTHONPATH", "value": "/"}]}]},
            "spec.predictor.containers[0].env[0].name: Forbidden: PYTHONPATH",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(predictor: Any, expected: str) -> None:
    found = errors(isvc(predictor))
    assert len(found) == 1
    assert found[0].startswith(expected)


SKLEARN = {"sklearn": {"storageUri": "gs://b/m"}}


@pytest.mark.parametrize(
    ("fields", "annotations", "expected"),
    [
        (
            {"scaleMetric": "rps"},
            {"autoscalerClass": "hpa"},
            'spec.predictor.scaleMetric: Unsupported value: "rps": the autoscaler class hpa knows',
        ),
        (
            {"scaleMetric": "memory"},
            {"deploymentMode": "Knative"},
            'spec.predictor.scaleMetric: Unsupported value: "memory": the deployment mode Knative',
        ),
        (
            {"scaleMetric": "cpu", "scaleTarget": 101},
            {},
            "spec.predictor.scaleTarget: Invalid value: 101: is a percentage of the CPU requested",
        ),
        (
            {"scaleMetric": "rps", "scaleTarget": 0},
            {},
            "spec.predictor.scaleTarget: Invalid value: 0: must be at least 1",
        ),
        (
            {"deploymentStrategy": {"type": "Recreate"}},
            {"deploymentMode": "Serverless"},
            "spec.predictor.deploymentStrategy: Forbidden: is for the deployment mode Standard",
        ),
        (
            {"autoScaling": {"metrics": [{"type": "External"}]}},
            {},
            "spec.predictor.autoScaling.metrics[0].type: Unsupported value",
        ),
        (
            {},
            {"autoscalerClass": "keda"},
            "metadata.annotations[serving.kserve.io/autoscalerClass]: Unsupported value",
        ),
        (
            {},
            {"deploymentMode": "ModelMesh"},
            "metadata.annotations[serving.kserve.io/deploymentMode]: Unsupported value",
        ),
        ({"workerSpec": {}}, {}, "spec.predictor.workerSpec: Forbidden"),
    ],
)
def test_what_cannot_scale_is_refused(fields: Obj, annotations: Obj, expected: str) -> None:
    obj = isvc({**SKLEARN, **fields})
    found = {f"serving.kserve.io/{key}": value for key, value in annotations.items()}
    obj["metadata"]["annotations"] = found
    assert [error[: len(expected)] for error in errors(obj)] == [expected]


@pytest.mark.parametrize(
    ("setting", "value", "accepted"),
    [
        ("error-rate", "5%", True),
        ("error-rate", "0.05", True),
        ("error-rate", "7", False),
        ("error-rate", "few", False),
        ("p99", "500ms", True),
        ("p99", "fast", False),
    ],
)
def test_limits_of_canaries_are_read_at_once(setting: str, value: str, accepted: bool) -> None:
    obj = isvc(SKLEARN)
    obj["metadata"]["annotations"] = {f"serving.kubeling.io/rollback-{setting}": value}
    assert not errors(obj) if accepted else "Invalid value" in errors(obj)[0]


def test_modes_are_called_by_their_present_names_and_kept() -> None:
    obj = isvc(SKLEARN)
    obj["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    assert not errors(obj)
    assert obj["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    old = {**obj, "status": {"deploymentMode": "Knative"}}
    found = list(validate_service(obj, old, AdmissionRequest(INFERENCE_SERVICES, "UPDATE")))
    assert [error.reason for error in found] == ["Forbidden"]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (["/mnt/a", "/mnt/b"], []),
        (["/a", "/b"], ["spec.predictor.storageUris: Invalid value"]),
        (["mnt"], ["spec.predictor.storageUris[0].mountPath: Invalid value"]),
        (["/mnt/../x"], ["spec.predictor.storageUris[0].mountPath: Invalid value"]),
        (["/mnt/a", "/mnt/a"], ["spec.predictor.storageUris[1].mountPath: Duplicate value"]),
        (["/mnt/a", "//mnt/./a/"], ["spec.predictor.storageUris[1].mountPath: Duplicate value"]),
        (["/./"], ["spec.predictor.storageUris[0].mountPath: Invalid value"]),
    ],
)
def test_models_have_places_of_their_own(places: list[str], expected: list[str]) -> None:
    uris = [{"uri": f"gs://b/{index}", "mountPath": p} for index, p in enumerate(places)]
    found = errors(isvc({"model": {"modelFormat": {"name": "f"}}, "storageUris": uris}))
    assert [": ".join(error.split(": ")[:2]) for error in found] == expected


def test_an_explainer_is_a_container_or_art() -> None:
    assert not errors(isvc(SKLEARN, explainer={"containers": [{"image": "mine"}]}))
    assert not errors(isvc(SKLEARN, explainer={"art": {"type": "SquareAttack"}}))
    found = errors(isvc(SKLEARN, explainer={"minReplicas": 1}))
    assert found[0].startswith("spec.explainer.containers: Required value: an explainer is")


def test_a_runtime_gives_a_format_one_priority() -> None:
    formats = [
        {"name": "f", "version": version, "autoSelect": True, "priority": priority}
        for version, priority in (("1", 1), ("2", 2))
    ]
    runtime = {"spec": {"containers": [{"name": "x"}], "supportedModelFormats": formats}}
    request = AdmissionRequest(SERVING_RUNTIMES, "CREATE")
    found = [error.path for error in validate_runtime(runtime, None, request)]
    assert found == ["spec.supportedModelFormats[1].priority"]


WORKER: Obj = {"name": "worker-container", "image": "x"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [{"env": [{"name": "PYTHONPATH"}]}]}, "spec.containers[0].env[0].name"),
        ({"workerSpec": {}}, "spec.workerSpec.containers"),
        ({"workerSpec": {"containers": [WORKER, WORKER]}}, "spec.workerSpec.containers"),
        (
            {"workerSpec": {"containers": [{**WORKER, "env": [{"name": "PYTHONPATH"}]}]}},
            "spec.workerSpec.containers[0].env[0].name",
        ),
        (
            {"workerSpec": {"containers": [WORKER], "pipelineParallelSize": 0}},
            "spec.workerSpec.pipelineParallelSize",
        ),
        (
            {"workerSpec": {"containers": [WORKER], "tensorParallelSize": 0}},
            "spec.workerSpec.tensorParallelSize",
        ),
        (
            {
                "workerSpec": {"containers": [WORKER]},
                "containers": [
                    {"name": "kserve-container", "env": [{"name": "TENSOR_PARALLEL_SIZE"}]}
                ],
            },
            "spec.containers[0].env[0].name",
        ),
        ({"workerSpec": {"containers": [WORKER], "pipelineParallelSize": 2}}, ""),
    ],
)
def test_what_a_runtime_may_not_say(spec: Obj, expected: str) -> None:
    """From upstream's table of its webhook; of one that is disabled nothing is checked."""
    runtime = {"spec": {"containers": [{"name": "x"}], **spec}}
    request = AdmissionRequest(SERVING_RUNTIMES, "CREATE")
    found = [error.path for error in validate_runtime(runtime, None, request)]
    assert found == ([expected] if expected else [])
    runtime["spec"]["disabled"] = True
    assert not list(validate_runtime(runtime, None, request))


def test_what_is_being_deleted_may_go_whatever_it_says() -> None:
    gone = isvc({})
    assert errors(gone)
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    request = AdmissionRequest(INFERENCE_SERVICES, "UPDATE")
    assert not list(validate_service(gone, gone, request))


def test_maximum_zero_means_no_limit() -> None:
    assert not errors(
        isvc({"sklearn": {"storageUri": "gs://b"}, "minReplicas": 3, "maxReplicas": 0})
    )


@pytest.mark.parametrize("name", ["9iris", "Iris", "iris-", "iris.v1", "x" * 60])
def test_a_name_that_cannot_become_a_host_name_is_refused(name: str) -> None:
    found = errors(isvc({"sklearn": {"storageUri": "gs://b"}}, name=name))
    assert [error.partition(":")[0] for error in found] == ["metadata.name"]


def test_a_transformer_needs_a_container() -> None:
    found = errors(isvc({"sklearn": {"storageUri": "gs://b"}}, transformer={"minReplicas": 1}))
    assert found[0].startswith("spec.transformer.containers: Required value")


def legacy(**spec: Any) -> Obj:
    return {
        "apiVersion": "serving.kubeflow.org/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "old", "namespace": "default"},
        "spec": spec,
    }


def test_the_old_group_keeps_what_was_written_but_can_be_scaled() -> None:
    obj = legacy(
        predictor={"tensorflow": {"storageUri": "gs://bucket/model"}},
        transformer={"custom": {"container": {"image": "model-monitor:latest"}}},
    )
    assert not admit(obj)
    assert obj["spec"]["predictor"] == {
        "tensorflow": {"storageUri": "gs://bucket/model"},
        "minReplicas": 1,
    }
    assert obj["spec"]["transformer"]["custom"]["container"]["name"] == "kserve-container"


def test_errors_of_the_old_group_name_the_fields_as_written() -> None:
    found = errors(
        legacy(
            predictor={"tensorflow": {"storageUri": "models/y"}},
            transformer={"custom": {"container": {"args": []}}},
        )
    )
    assert [error.partition(": ")[0] for error in found] == [
        "spec.predictor.tensorflow.storageUri",
        "spec.transformer.custom.container.image",
    ]


@pytest.mark.parametrize(
    ("logger", "field"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "s3://b", "storage": {"path": "p", "parameters": {}}}, "storage.key"),
        ({"url": "http://x", "storage": {"path": "p"}}, "storage"),
        (
            {"url": "file:///x", "storage": {"parameters": {"format": "xls"}}},
            "storage.parameters.format",
        ),
        ({"url": "file:///x", "batchInterval": "soon"}, "batchInterval"),
        ({"url": "file:///x", "marshallerUrl": "http://m"}, "marshallerUrl"),
    ],
)
def test_what_a_logger_cannot_do_is_named(logger: Obj, field: str) -> None:
    found = service(predictor={"sklearn": {"storageUri": "gs://b/m"}, "logger": logger})
    assert [e.path for e in admit(found)] == [f"spec.predictor.logger.{field}"]


def test_a_container_that_speaks_grpc_has_no_logger() -> None:
    ports = [{"name": "h2c", "containerPort": 8081}]
    own = {"containers": [{"image": "mine", "ports": ports}], "logger": {"url": "http://sink/"}}
    assert [e.path for e in admit(service(predictor=own))] == [
        "spec.predictor.containers[0].ports[0].name"
    ]


@pytest.mark.parametrize("asked", [{MONITORING: "true"}, {ROLLBACK_DRIFT: "0.2"}])
def test_a_container_that_speaks_grpc_is_not_monitored(asked: dict[str, str]) -> None:
    ports = [{"name": "h2c", "containerPort": 8081}]
    found = service(predictor={"containers": [{"image": "mine", "ports": ports}]})
    assert not admit(found)
    found["metadata"]["annotations"] = asked
    (error,) = admit(found)
    assert error.path == "spec.predictor.containers[0].ports[0].name"
    assert "not gRPC" in error.message


@pytest.mark.parametrize(
    ("annotation", "meant"),
    [
        ("serving.kubeling.io/monitring", "; did you mean serving.kubeling.io/monitoring?"),
        ("serving.kubeling.io/rollback-errors", "; did you mean .*/rollback-error-rate?"),
        ("serving.kubeling.io/unheard-of", ""),
        ("serving.kserve.io/deploymentmode", "; did you mean serving.kserve.io/deploymentMode?"),
        ("serving.kserve.io/targetUtilizationPercent", "; did you mean .*Percentage?"),
    ],
)
def test_an_annotation_that_is_spelt_wrongly_is_named_once(annotation: str, meant: str) -> None:
    obj = isvc({"sklearn": {}})
    obj["metadata"]["annotations"] = {annotation: "true"}
    said = list(warn_of_annotations(obj, AdmissionRequest(INFERENCE_SERVICES, "CREATE")))
    start = f"metadata.annotations[{annotation}]: has no effect"
    assert re.fullmatch(re.escape(start) + meant.replace("?", r"\?"), *said)
    again = AdmissionRequest(INFERENCE_SERVICES, "UPDATE", old=obj)
    assert not list(warn_of_annotations(obj, again))


def test_annotations_that_count_and_those_of_others_are_passed_over() -> None:
    obj = isvc({"sklearn": {}})
    obj["metadata"]["annotations"] = dict.fromkeys(
        [
            "serving.kubeling.io/monitoring",
            "serving.kubeling.io/convert-to-onnx",
            "serving.kserve.io/stop",
            "serving.kserve.io/enable-metric-aggregation",
            "sidecar.istio.io/inject",
        ],
        "true",
    )
    assert not list(warn_of_annotations(obj, AdmissionRequest(INFERENCE_SERVICES, "CREATE")))
