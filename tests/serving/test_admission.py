"""What is filled in and refused at ``kubectl apply``."""

from __future__ import annotations

from typing import Any

import pytest
from tests.serving.services import admit, errors, service

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj
from kubeling.serving.admission import default_service
from kubeling.serving.resources import INFERENCE_SERVICES


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
        "model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://b/m", "env": []},
        "minReplicas": 1,
    }


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
            {"sklearn": {"storageUri": "ftp://b/m"}},
            'spec.predictor.model.storageUri: Unsupported value: "ftp://b/m": supported: gs://',
        ),
        (
            {"sklearn": {"storageUri": "models/iris"}},
            'spec.predictor.model.storageUri: Invalid value: "models/iris": a plain path must be',
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
            {"containers": [{"image": "x", "env": [{"name": "PYTHONPATH", "value": "/"}]}]},
            "spec.predictor.containers[0].env[0].name: Forbidden: PYTHONPATH",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(predictor: Any, expected: str) -> None:
    found = errors(isvc(predictor))
    assert len(found) == 1
    assert found[0].startswith(expected)


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
            predictor={"tensorflow": {"storageUri": "x://y"}},
            transformer={"custom": {"container": {"args": []}}},
        )
    )
    assert [error.partition(": ")[0] for error in found] == [
        "spec.predictor.tensorflow.storageUri",
        "spec.transformer.custom.container.image",
    ]
