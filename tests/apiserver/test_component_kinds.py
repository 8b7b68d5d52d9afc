"""Fields of a component's kind that hold parts of pods are checked as a pod's are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.component import load_components
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

MISSPELT = {"name": "main", "image": "busybox", "comand": ["true"]}
POD = {"containers": [MISSPELT]}
CASES = [
    (
        "/apis/kubeflow.org/v1/namespaces/default/notebooks",
        {"template": {"spec": POD}},
        "spec.template.spec.containers[0].comand",
    ),
    (
        "/apis/argoproj.io/v1alpha1/namespaces/default/workflows",
        {"entrypoint": "m", "templates": [{"name": "m", "container": MISSPELT}]},
        "spec.templates[0].container.comand",
    ),
    (
        "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs",
        {"pytorchReplicaSpecs": {"Master": {"template": {"spec": POD}}}},
        "spec.pytorchReplicaSpecs.Master.template.spec.containers[0].comand",
    ),
    (
        "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices",
        {"predictor": POD},
        "spec.predictor.containers[0].comand",
    ),
]


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server(*load_components()) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "spec", "field"), CASES, ids=[case[0].rsplit("/", 1)[-1] for case in CASES]
)
async def test_a_misspelt_field_of_a_container_is_named(
    running: RunningServer, path: str, spec: Any, field: str
) -> None:
    body: Obj = {"metadata": {"name": "x"}, "spec": spec}

    async def create(validation: str) -> Any:
        query = {"fieldValidation": validation}
        return await running.client.raw("POST", path, body=body, query=query)

    with pytest.raises(BadRequest, match="unknown field") as refused:
        await create("Strict")
    assert f'unknown field "{field}"' in str(refused.value)
