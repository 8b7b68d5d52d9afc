"""What pages get to draw artifacts with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pipelines.conftest import Api
from tests.pipelines.test_api import get, post
from tests.pipelines.test_lineage_api import executed

from kubeling.component import Context
from kubeling.pipelines.previews import HEAD, metadata_preview, text_preview

CURVE = {
    "confidenceMetrics": [
        {"confidenceThreshold": 0.9, "recall": 0.2},
        {"confidenceThreshold": 0.1, "recall": 1.0, "falsePositiveRate": 0.5},
    ],
    "confusionMatrix": {
        "annotationSpecs": [{"displayName": "cat"}, {"displayName": "dog"}],
        "rows": [{"row": [8, 2]}, {"row": [1, 9]}],
    },
}
DRAWN = {
    "roc": [
        {"threshold": 0.9, "recall": 0.2, "false_positive_rate": 0.0},
        {"threshold": 0.1, "recall": 1.0, "false_positive_rate": 0.5},
    ],
    "confusion_matrix": {"labels": ["cat", "dog"], "rows": [[8, 2], [1, 9]]},
}


def test_metrics_are_their_numbers() -> None:
    metadata = {"accuracy": 0.9, "epochs": 3, "display_name": "m", "good": True}
    found = metadata_preview("system.Metrics", metadata)
    assert found == {"kind": "metrics", "metrics": {"accuracy": 0.9, "epochs": 3}}


def test_classification_metrics_are_a_curve_and_a_matrix() -> None:
    found = metadata_preview("system.ClassificationMetrics", CURVE)
    assert found == {"kind": "classification", **DRAWN}
    slices = {"evaluationSlices": [{"slice": "young", "sliceClassificationMetrics": CURVE}]}
    found = metadata_preview("system.SlicedClassificationMetrics", slices)
    assert found == {"kind": "sliced_classification", "slices": [{"slice": "young", **DRAWN}]}


@pytest.mark.parametrize(
    ("title", "name", "head", "expected"),
    [
        ("system.HTML", "report", b"<b>x</b>", {"kind": "html", "text": "<b>x</b>"}),
        ("system.Artifact", "a.html", b"<b>", {"kind": "html", "text": "<b>"}),
        ("system.Markdown", "notes", b"# x", {"kind": "markdown", "text": "# x"}),
        ("system.Dataset", "d.csv", b'a,b\n1,"2,3"\n',
         {"kind": "table", "header": ["a", "b"], "rows": [["1", "2,3"]], "more_rows": False}),
        ("system.Dataset", "d.tsv", b"x" * 200_000, {"kind": "text", "text": "x" * 200_000}),
        ("system.Dataset", "d.json", b'{"a": [1]}', {"kind": "json", "value": {"a": [1]}}),
        ("system.Dataset", "d.json", b'{"a": ', {"kind": "text", "text": '{"a": '}),
        ("system.Artifact", "p.png", b"\x89PNG", {"kind": "image", "content_type": "image/png"}),
        ("system.Model", "m", b"\0\1\2", {"kind": "binary"}),
        ("system.Artifact", "a", "ä".encode(), {"kind": "text", "text": "ä"}),
        ("system.Artifact", "a", b"x" + "ä".encode()[:1], {"kind": "text", "text": "x"}),
    ],
)  # fmt: skip
def test_files_are_shown_by_type_and_name(
    title: str, name: str, head: bytes, expected: dict[str, Any]
) -> None:
    found = text_preview(title, name, head, len(head))
    assert found == {**expected, "size": len(head), "truncated": False}


@given(st.binary(max_size=200), st.sampled_from(["a", "a.csv", "a.json", "a.html", "a.png"]))
def test_any_file_has_a_preview(head: bytes, name: str) -> None:
    found = text_preview("system.Artifact", name, head, len(head) + 1)
    assert found["kind"] in {"text", "table", "html", "binary", "image", "json"}
    assert found["truncated"] is True


async def test_an_artifacts_preview_is_answered(api: Api, context: Context) -> None:
    run_id = await executed(api, context)
    folder = context.artifacts.folder / "pipelines" / "default"
    folder.mkdir(parents=True)
    (folder / "report.md").write_bytes(b"# " + b"x" * HEAD)
    for artifact, expected in (
        ({"type": "ClassificationMetric", "metadata": CURVE}, "classification"),
        ({"type": "Markdown", "uri": str(folder / "report.md")}, "markdown"),
        ({"type": "Artifact", "uri": str(folder)}, "folder"),
        ({"type": "Dataset", "uri": "https://example.com/x"}, "elsewhere"),
    ):
        body = {"artifact": {"name": "x", **artifact}, "run_id": run_id}
        made = await post(api, "/artifacts", body)
        found = await get(api, f"/artifacts/{made['artifact_id']}/preview")
        assert found["preview"]["kind"] == expected
        if expected == "markdown":
            assert len(found["preview"]["text"]) == HEAD
            assert found["preview"]["truncated"] is True
