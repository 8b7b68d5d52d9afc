"""What of an artifact's content is shown."""

from __future__ import annotations

import json

import pytest

from kubeling.gateway.drawing.roc import area_under, draw_roc, points_of
from kubeling.gateway.pages.artifacts.pages import confusion_of
from kubeling.gateway.pages.artifacts.preview import preview_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("data", "schema", "name", "kind"),
    [
        (b"", "system.Dataset", "data", "empty"),
        (b"<h1>x</h1>", "system.HTML", "report", "html"),
        (b"# x", "system.Markdown", "notes", "markdown"),
        (PNG, "system.Artifact", "picture", "image"),
        (b"a,b\n1,2\n", "system.Dataset", "data", "table"),
        (b"just words\n", "system.Artifact", "out", "text"),
        (bytes(range(256)), "system.Model", "model.bin", "binary"),
    ],
)
def test_content_is_shown_by_what_it_is(data: bytes, schema: str, name: str, kind: str) -> None:
    assert preview_of(data, schema, name, whole=True).kind == kind


def test_tables_of_csv_and_of_json_have_headers_and_rows() -> None:
    found = preview_of(b"x\ty\n1\t2\n", "", "data.tsv", whole=True)
    assert (found.header, found.rows) == (["x", "y"], [["1", "2"]])
    rows = json.dumps([{"a": 1, "b": "x"}, {"a": None, "c": [1]}]).encode()
    found = preview_of(rows, "", "data.json", whole=True)
    assert found.header == ["a", "b", "c"]
    assert found.rows == [["1", "x", ""], ["", "", "[1]"]]


def test_a_beginning_is_shown_even_if_it_ends_within_a_letter() -> None:
    found = preview_of("ein Wörtchen ö".encode()[:-1], "", "out", whole=False)
    assert found.text == "ein Wörtchen "
    assert found.cut


def test_markdown_of_users_cannot_become_markup() -> None:
    found = preview_of(b"*good* <script>bad</script>", "system.Markdown", "notes", whole=True)
    assert "<em>good</em>" in found.text
    assert "<script>" not in found.text


def test_a_roc_has_its_area_and_its_legend() -> None:
    metadata = {
        "confidenceMetrics": [
            {"confidenceThreshold": 1.0, "falsePositiveRate": 0.0, "recall": 0.0},
            {"confidenceThreshold": 0.5, "falsePositiveRate": 0.0, "recall": 1.0},
            {"confidenceThreshold": 0.0, "falsePositiveRate": 1.0, "recall": 1.0},
        ]
    }
    points = points_of(metadata)
    assert area_under(points) == 1.0
    assert "<b>, area 1.000" not in draw_roc({"<b>": points})
    assert points_of({}) == []


def test_a_confusion_matrix_has_names_and_shares() -> None:
    matrix = {
        "annotationSpecs": [{"displayName": "cat"}, {"displayName": "dog"}],
        "rows": [{"row": [3, 1]}, {"row": [0, 0]}],
    }
    found = confusion_of({"confusionMatrix": matrix})
    assert found is not None
    assert found["rows"] == [("cat", [3.0, 1.0], [0.75, 0.25]), ("dog", [0.0, 0.0], [0.0, 0.0])]
    assert confusion_of({"confusionMatrix": {"annotationSpecs": []}}) is None
