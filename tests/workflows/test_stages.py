"""Files of stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubeling.kube.admission import AdmissionRequest
from kubeling.workflows.admission import admissions
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.stages import workflow_from_stages


def test_each_stage_runs_what_has_its_name(tmp_path: Path) -> None:
    for file in ("data_preparation.py", "explore.ipynb", "deploy.sh", "deploy.txt"):
        (tmp_path / file).touch()
    document = {"stages": ["data-preparation", "explore", "deploy"]}
    workflow = workflow_from_stages(document, tmp_path)
    main, *stages = workflow["spec"]["templates"]
    assert [[step["name"] for step in group] for group in main["steps"]] == [
        ["data-preparation"],
        ["explore"],
        ["deploy"],
    ]
    assert [stage["container"]["command"][-1] for stage in stages] == [
        "data_preparation.py",
        "explore.ipynb",
        "deploy.sh",
    ]
    rules = admissions()[WORKFLOWS]
    assert rules.validate is not None
    assert not list(rules.validate(workflow, None, AdmissionRequest(WORKFLOWS, "CREATE")))


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    with pytest.raises(ValueError) as caught:
        workflow_from_stages({"stages": ["prepare", "train", "watch"]}, tmp_path)
    message = str(caught.value)
    assert '"prepare" (prepare.py, prepare.ipynb, prepare.sh)' in message
    assert '"watch"' in message
    assert '"train"' not in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "stages: Required value"),
        ({"stage": []}, "stages: Required value"),
        ({"stages": []}, "at least one name"),
        ({"stages": ["a b"]}, r"stages\[0\]: Invalid value"),
        ({"stages": ["a-b", "a_b"]}, r"stages\[1\]: Duplicate value"),
        ({"stages": ["a"], "steps": 1}, "steps: unknown field"),
    ],
)
def test_mistakes_name_the_field(document: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        workflow_from_stages(document, tmp_path)
