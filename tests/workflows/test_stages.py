"""Files of stages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    assert '"prepare" (prepare.py, prepare.ipynb, prepare.sh, prepare.yaml)' in message
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


TEMPLATE = """
kind: WorkflowTemplate
metadata: {name: deploy}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: go, template: go}]]
  - name: go
    container: {image: busybox, command: ["true"]}
"""


def test_a_template_of_the_name_is_a_stage_and_sees_the_shared_folder(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(TEMPLATE)
    workflow = workflow_from_stages({"stages": ["deploy"]}, tmp_path)
    main, entry, inner = workflow["spec"]["templates"]
    assert main["steps"] == [[{"name": "deploy", "template": "deploy-main"}]]
    assert entry["steps"][0][0]["template"] == inner["name"] == "deploy-go"
    assert inner["container"]["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]
    (tmp_path / "deploy.yaml").write_text("kind: Pod")
    with pytest.raises(ValueError, match=r"deploy\.yaml: a WorkflowTemplate is expected"):
        workflow_from_stages({"stages": ["deploy"]}, tmp_path)


def run(folder: Path, number: int, stage: str, file: str, **env: str) -> str:
    """Runs a stage's program as its container does; returns what it says."""
    outputs = folder / f"shared/.stages/{number:03d}-{stage}.out"
    variables = {"SHARED_DIR": str(folder / "shared"), "STAGE_OUTPUTS": str(outputs), **env}
    workflow = workflow_from_stages({"stages": [stage]}, folder)
    command = workflow["spec"]["templates"][1]["container"]["command"]
    done = subprocess.run(
        [sys.executable if command[0] == "python" else command[0], *command[1:]],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_what_stages_give_is_handed_on_by_name(tmp_path: Path) -> None:
    (tmp_path / "prepare.py").write_text(
        "def prepare(rows=3):\n"
        "    return {'data': list(range(rows)), 'when': '1', 'seen': {1, 2}}\n"
    )
    (tmp_path / "check.sh").write_text(
        'echo "data is $INPUT_DATA"; echo "checked=yes" >> "$STAGE_OUTPUTS"\n'
    )
    (tmp_path / "train.py").write_text(
        "import os\n"
        "def train(data, when, seen, checked, depth=2):\n"
        "    print(data, when, seen, checked, depth, os.environ['INPUT_CHECKED'])\n"
        "    return sum(data)\n"
    )
    given = {"STAGE_PARAMETERS": '[["rows", "INPUT_ROWS"]]', "INPUT_ROWS": "4"}
    assert "output data = [0, 1, 2, 3]" in run(tmp_path, 0, "prepare", "prepare.py", **given)
    assert "data is [0, 1, 2, 3]" in run(tmp_path, 1, "check", "check.sh")
    said = run(tmp_path, 2, "train", "train.py")
    assert "[0, 1, 2, 3] 1 {1, 2} yes 2 yes" in said
    assert "output train = 6" in said


def test_a_script_that_calls_its_function_itself_is_only_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "def train(data):\n    print('trained on', data)\n\n"
        "if __name__ == '__main__':\n    train('mine')\n"
    )
    assert run(tmp_path, 0, "train", "train.py") == "trained on mine\n"


def test_an_input_that_nothing_gives_is_named_with_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "load.py").write_text("def load():\n    return {'data': 1}\n")
    (tmp_path / "train.py").write_text("def train(dataset):\n    pass\n")
    run(tmp_path, 0, "load", "load.py")
    said = run(tmp_path, 1, "train", "train.py")
    assert "stage train: train() needs 'dataset', which no earlier stage gives" in said
    assert "so far there is: data" in said


def notebook(*cells: tuple[str, str]) -> str:
    """A notebook of code cells, each a tag and its source."""
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{number}",
                    "metadata": {"tags": [tag] if tag else []},
                    "source": source,
                    "outputs": [],
                    "execution_count": None,
                }
                for number, (tag, source) in enumerate(cells)
            ],
        }
    )


def test_a_notebook_takes_and_gives_by_its_tagged_cells(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    (tmp_path / "load.py").write_text("def load():\n    return {'depth': 5}\n")
    cells = (
        ("parameters", "depth = 1"),
        ("", "print('depth', depth)"),
        ("outputs", "score = depth * 2"),
    )
    (tmp_path / "explore.ipynb").write_text(notebook(*cells))
    run(tmp_path, 0, "load", "load.py")
    said = run(tmp_path, 1, "explore", "explore.ipynb")
    assert "depth 5" in said
    assert "output score = 10" in said
    kept = json.loads((tmp_path / "shared/explore.ipynb").read_text())
    assert "".join(kept["cells"][1]["source"]) == "depth = 5"
    (tmp_path / "explore.ipynb").write_text(notebook(("", "x = 1"), ("", "1 / 0")))
    said = run(tmp_path, 2, "explore", "explore.ipynb")
    assert "ZeroDivisionError" in said
    assert "stage explore: cell 2 of explore.ipynb failed" in said
