"""What a step left, as the platform reads it: the SDK's answer first, then the files."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.specs import document, step, task

from kubeling.artifacts.store import ArtifactStore
from kubeling.pipelines.executor_io import OutputsError, read_outputs
from kubeling.pipelines.ir import ComponentSpec
from kubeling.pipelines.ir_reading import parse_spec
from kubeling.pipelines.lineage import lineage_of
from kubeling.pipelines.nodes import Outputs, TaskNode


def component(*kinds: str, **parameters: str) -> ComponentSpec:
    made = step(outputs=parameters)
    made["outputDefinitions"]["artifacts"] = {
        kind.lower(): {"artifactType": {"schemaTitle": f"system.{kind}"}} for kind in kinds
    }
    return parse_spec(document({"a": task()}, {"step": made})).components["step"]


def read(folder: Path, made: ComponentSpec) -> Outputs:
    store = ArtifactStore(folder.as_uri())
    return read_outputs(store, made, str(folder), str(folder), ("run", "a"))


def answer(folder: Path, **entries: Any) -> None:
    (folder / "executor_output.json").write_text(json.dumps(entries))


def test_the_answer_wins_over_the_files(tmp_path: Path) -> None:
    (tmp_path / ".parameters").mkdir()
    (tmp_path / ".parameters" / "out").write_text("1")
    made = component("Dataset", out="NUMBER_INTEGER")
    assert read(tmp_path, made).parameters == {"out": 1}
    told = {"name": "mine", "uri": str(tmp_path / "elsewhere"), "metadata": {"rows": 3}}
    answer(tmp_path, parameterValues={"out": 2.0}, artifacts={"dataset": {"artifacts": [told]}})
    found = read(tmp_path, made)
    assert found.parameters == {"out": 2}
    [artifact] = found.artifacts["dataset"]
    assert (artifact.uri, artifact.metadata) == (told["uri"], {"rows": 3})


def test_an_artifact_without_a_file_is_an_artifact(tmp_path: Path) -> None:
    [artifact] = read(tmp_path, component("Model")).artifacts["model"]
    assert artifact.type == "system.Model"
    assert artifact.uri == str(tmp_path / "model")
    assert artifact.digest == ""


def test_an_answer_that_is_none_fails_the_step(tmp_path: Path) -> None:
    (tmp_path / "executor_output.json").write_text("{")
    with pytest.raises(OutputsError, match=r"executor_output\.json"):
        read(tmp_path, component("Model"))


def test_numbers_of_metrics_are_kept_apart_and_curves_with_the_artifact(tmp_path: Path) -> None:
    curve = {
        "confidenceMetrics": [{"confidenceThreshold": 0.5, "recall": 1, "falsePositiveRate": 0}]
    }
    answer(
        tmp_path,
        artifacts={
            "metrics": {"artifacts": [{"metadata": {"accuracy": 0.9, "name": "x", "fine": True}}]},
            "classificationmetrics": {"artifacts": [{"metadata": curve}]},
        },
    )
    outputs = read(tmp_path, component("Metrics", "ClassificationMetrics"))
    node = TaskNode("a", "a", kind="container", state="SUCCEEDED", outputs=outputs)
    rows = lineage_of("run", "default", [node], dt.datetime.now(dt.UTC))
    assert [(row["name"], row["value"]) for row in rows.metrics] == [("accuracy", 0.9)]
    assert curve in [row["metadata"] for row in rows.artifacts]
