"""What placeholders in commands become."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.pipelines.placeholders import (
    PlaceholderError,
    PlaceholderScope,
    resolve,
    resolve_arguments,
)

ARTIFACT = {"name": "d", "uri": "/store/d", "metadata": {"rows": 3}, "type": {}}
INPUT = {
    "inputs": {
        "parameterValues": {"n": 3.0, "s": "it's", "l": [1.0, "a"], "b": True, "none": None},
        "artifacts": {"d": {"artifacts": [ARTIFACT]}},
    },
    "outputs": {
        "parameters": {"o": {"outputFile": "/store/o"}},
        "artifacts": {"m": {"artifacts": [{"uri": "gs://bucket/m", "metadata": {}}]}},
        "outputFile": "/store/executor_output.json",
    },
}
SCOPE = PlaceholderScope(INPUT, {"pipeline_job_name": "my run"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{$.inputs.parameters['n']}}", "3"),
        ("n={{$.inputs.parameters['n']}}!", "n=3!"),
        ("{{$.inputs.parameters['s']}}", "it's"),
        ("{{$.inputs.parameters['l']}}", '[1,"a"]'),
        ("{{$.inputs.parameters['b']}}", "true"),
        ("{{$.inputs.parameters['none']}}", ""),
        ("{{$.inputs.artifacts['d'].path}}", "/store/d"),
        ("{{$.inputs.artifacts['d'].metadata['rows']}}", "3"),
        ("{{$.outputs.artifacts['m'].path}}", "/gcs/bucket/m"),
        ("{{$.outputs.artifacts['m'].uri}}", "gs://bucket/m"),
        ("{{$.outputs.parameters['o'].output_file}}", "/store/o"),
        ("{{$.outputs.output_file}}", "/store/executor_output.json"),
        ("{{$.pipeline_job_name}}", "my run"),
    ],
)
def test_placeholders(text: str, expected: str) -> None:
    assert resolve(text, SCOPE) == expected


def test_the_whole_input_is_json() -> None:
    assert json.loads(resolve("{{$}}", SCOPE)) == INPUT


def test_structures_are_taken_apart() -> None:
    present = {"IfPresent": {"InputName": "s", "Then": ["--s", "{{$.inputs.parameters['s']}}"]}}
    absent = {"IfPresent": {"InputName": "none", "Then": ["--x"], "Else": "plain"}}
    joined = {"Concat": ["a-", "{{$.inputs.parameters['n']}}", {"Concat": ["-", "z"]}]}
    gone = {"IfPresent": {"InputName": "none", "Then": "x"}}
    given = ["run", *(json.dumps(part) for part in (present, absent, joined, gone))]
    assert resolve_arguments(given, SCOPE) == ["run", "--s", "it's", "plain", "a-3-z"]


def test_what_refers_to_nothing_is_named() -> None:
    with pytest.raises(PlaceholderError, match="foo"):
        resolve("{{$.foo.bar}}", SCOPE)


@given(st.text())
def test_a_value_is_never_taken_for_a_placeholder_or_structure(value: str) -> None:
    scope = PlaceholderScope({"inputs": {"parameterValues": {"v": value}}})
    structure = json.dumps({"Concat": ["<", "{{$.inputs.parameters['v']}}", ">"]})
    assert resolve_arguments([structure], scope) == [f"<{value}>"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_every_value_has_a_text_that_reads_back(value: Any) -> None:
    scope = PlaceholderScope({"inputs": {"parameterValues": {"v": value}}})
    text = resolve("{{$.inputs.parameters['v']}}", scope)
    if value is None:
        assert text == ""
    else:
        assert text == value if isinstance(value, str) else json.loads(text) == value
