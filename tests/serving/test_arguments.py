"""What a service's model is called by its own server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.serving.services import service

from kubeling.serving.arguments import flag, model_name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model_name=a"], "a"),
        (["--model_name", "a"], "a"),
        (["--model_name=a", "--x", "--model_name", "b"], "b"),
        (["--model_names=a", "--model_name"], ""),
        (None, ""),
    ],
)
def test_the_last_value_of_a_flag_counts(arguments: list[str] | None, expected: str) -> None:
    assert flag(arguments, "--model_name") == expected


MODEL = {"sklearn": {"storageUri": "gs://b/m", "args": ["--model_name=told"]}}
OWN = {"image": "mine", "args": ["--model_name", "own"]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"predictor": {"sklearn": {"storageUri": "gs://b/m"}}}, "iris"),
        ({"predictor": MODEL}, "told"),
        ({"predictor": {"containers": [OWN]}}, "own"),
        ({"predictor": MODEL, "transformer": {"containers": [OWN]}}, "own"),
        ({"predictor": MODEL, "transformer": {"containers": [{"image": "x"}]}}, "told"),
    ],
)
def test_who_asks_a_model_asks_by_the_name_its_server_was_told(
    spec: dict[str, Any], expected: str
) -> None:
    assert model_name(service(**spec)) == expected


def test_the_name_that_mlserver_was_told_counts() -> None:
    env = [{"name": "MLSERVER_MODEL_NAME", "value": "told"}]
    assert model_name(service(predictor={"sklearn": {"storageUri": "gs://b/m", "env": env}})) == (
        "told"
    )
