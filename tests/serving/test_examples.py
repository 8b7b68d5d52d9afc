"""The examples a user would copy, and the seeds, as the API takes them."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.model_server import serving as serving_models
from tests.serving.platform import NAMESPACE, Serving, running_serving

from kubeling.kube import yaml
from kubeling.kube.resources import JOBS
from kubeling.serving.graph.resources import INFERENCE_GRAPHS
from kubeling.serving.resources import INFERENCE_SERVICES

EXAMPLES = Path(__file__).parents[2] / "examples" / "serving"


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        yield found


def test_every_manifest_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {
        *SERVICES,
        "drift-check",
        "graph",
        "llm",
    }


SERVICES = [
    "autoscaled",
    "canary",
    "custom-model",
    "monitored",
    "resting",
    "sklearn",
    "sklearn-bucket",
]


@pytest.mark.parametrize("title", SERVICES)
async def test_an_example_is_accepted_and_makes_a_revision(serving: Serving, title: str) -> None:
    obj = yaml.load((EXAMPLES / f"{title}.yaml").read_text())
    obj["metadata"]["namespace"] = NAMESPACE
    await serving.apply(INFERENCE_SERVICES, obj)
    isvc = await serving.until(
        INFERENCE_SERVICES,
        obj["metadata"]["name"],
        lambda o: bool((o.get("status") or {}).get("components")),
    )
    created = isvc["status"]["components"]["predictor"]["latestCreatedRevision"]
    assert created == f"{obj['metadata']['name']}-predictor-00001"


async def test_a_graph_is_accepted(serving: Serving) -> None:
    obj = yaml.load((EXAMPLES / "graph.yaml").read_text())
    await serving.client.create(INFERENCE_GRAPHS, obj, NAMESPACE, dry_run=True)


async def test_the_drift_check_is_a_valid_job(serving: Serving) -> None:
    obj = yaml.load((EXAMPLES / "drift-check.yaml").read_text())
    await serving.client.create(JOBS, obj, NAMESPACE, dry_run=True)


async def test_a_model_of_ones_own_answers() -> None:
    path = EXAMPLES / "custom_model.py"
    found = importlib.util.spec_from_file_location("custom_model", path)
    assert found is not None
    assert found.loader is not None
    module: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    model = module.Shout("shout")
    model.load()
    model.ready = True
    async with serving_models(model) as client:
        answer = await client.post("/v1/models/shout:predict", json={"text": "hello"})
        assert await answer.json() == {"predictions": ["HELLO!"]}
        answer = await client.post("/v1/models/shout:predict", json={})
        assert answer.status == 400
