"""Inputs as forms ask for them, and what the answers mean."""

from __future__ import annotations

from typing import Any

import pytest

from kubeling.gateway.inputs import Input, inputs_of_pipeline, inputs_of_template, read_inputs

DECLARED: dict[str, Any] = {
    "depth": {"parameterType": "NUMBER_INTEGER", "description": "levels"},
    "rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.1},
    "tags": {"parameterType": "LIST", "defaultValue": ["a"]},
    "note": {"parameterType": "STRING", "isOptional": True},
    "status": {"parameterType": "TASK_FINAL_STATUS"},
}
PIPELINE = {"root": {"inputDefinitions": {"parameters": DECLARED}}}


def test_a_pipelines_inputs_have_types_defaults_and_descriptions() -> None:
    assert inputs_of_pipeline(PIPELINE) == [
        Input("depth", "integer", None, "levels", True),
        Input("rate", "double", "0.1", "", False),
        Input("tags", "list", '["a"]', "", False),
        Input("note", "string", None, "", False),
    ]
    assert inputs_of_pipeline({"pipeline_spec": PIPELINE}) == inputs_of_pipeline(PIPELINE)


def test_a_templates_parameters_may_be_chosen_from_a_list() -> None:
    spec = {
        "arguments": {
            "parameters": [
                {"name": "kind", "value": "small", "enum": ["small", "large"]},
                {"name": "data", "description": "where it is"},
            ]
        }
    }
    assert inputs_of_template(spec) == [
        Input("kind", "string", "small", "", False, ("small", "large")),
        Input("data", "string", None, "where it is", True),
    ]


def test_answers_are_read_in_their_types_and_no_answer_is_the_default() -> None:
    inputs = inputs_of_pipeline(PIPELINE)
    values, wrong = read_inputs(inputs, {"depth": "3", "tags": '["b"]'})
    assert values == {"depth": 3, "rate": 0.1, "tags": ["b"]}
    assert wrong == {}


@pytest.mark.parametrize(
    ("answers", "field", "says"),
    [
        ({}, "depth", "is required"),
        ({"depth": "three"}, "depth", "whole number"),
        ({"depth": "3", "tags": "b"}, "tags", "JSON list"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(answers: dict[str, str], field: str, says: str) -> None:
    _, wrong = read_inputs(inputs_of_pipeline(PIPELINE), answers)
    assert says in wrong[field]
    assert set(wrong) == {field}
