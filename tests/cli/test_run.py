"""``kubeling run``: a file becomes a run that is watched to its end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.pipelines.specs import document, step, task
from tests.support.platform import Platform, started

from kubeling.cli.errors import CliError
from kubeling.cli.running import compile_script
from kubeling.cli.running.documents import (
    pairs,
    pipeline_parameters,
    read_documents,
    with_arguments,
)
from kubeling.cli.running.submission import Reading
from kubeling.cli.running.view import draw
from kubeling.gateway.inputs import without_caching
from kubeling.gateway.steps.model import Step, StepTree

WORKFLOW: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {"generateName": "w-"},
    "spec": {
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "text", "value": "hello"}]},
        "templates": [
            {
                "name": "main",
                "container": {
                    "image": "busybox",
                    "command": ["sh", "-c", "echo {{workflow.parameters.text}}"],
                },
            }
        ],
    },
}


def shell(script: str, **inputs: Any) -> Any:
    made = step(**inputs)
    made["executor"]["container"]["command"] = ["sh", "-c", script]
    return made


def test_what_a_file_describes_is_told_by_its_content() -> None:
    assert read_documents(json.dumps(WORKFLOW), "f").workflow == WORKFLOW
    assert read_documents("stages: [a]", "f").stages == {"stages": ["a"]}
    package = document({"a": task()}, {"step": step()})
    assert read_documents(json.dumps(package), "f").pipeline == package
    with_platform = read_documents(f"{json.dumps(package)}\n---\nplatforms: {{}}\n", "f").pipeline
    assert with_platform == {"pipeline_spec": package, "platform_spec": {"platforms": {}}}
    declared = {"n": {"parameterType": "NUMBER_INTEGER"}}
    asks = document({}, inputDefinitions={"parameters": declared})
    run = {"kind": "Run", "spec": {"pipelineSpec": asks, "runtimeConfig": {"parameters": {"n": 3}}}}
    package = read_documents(json.dumps(run), "f").pipeline
    assert package is not None
    assert pipeline_parameters(package, {}) == {}, "the manifest's value is the default"
    pod = read_documents("kind: Pod", "pod.yaml").unknown("pod.yaml")
    assert ": Pod is not something to run" in pod.message
    assert "kubeling apply -f pod.yaml" in pod.hint


def test_a_file_that_does_not_compile_is_told_by_its_own_lines(tmp_path: Path) -> None:
    file, out = tmp_path / "pipeline.py", tmp_path / "answer.json"
    (tmp_path / "kfp").mkdir()
    (tmp_path / "kfp/__init__.py").touch()
    (tmp_path / "kfp/compiler.py").touch()
    file.write_text("import not_there\n")
    script = Path(compile_script.__file__)
    subprocess.run([sys.executable, str(script), str(file), str(out), ""], check=True)
    answer = json.loads(out.read_text())
    assert f'File "{file}", line 1' in answer["error"]
    assert "No module named 'not_there'" in answer["error"]
    assert "compile_script" not in answer["error"]
    assert "--python" in answer["hint"]


def typed(**given: str) -> Any:
    inputs = {"n": "NUMBER_INTEGER", "x": "NUMBER_DOUBLE", "on": "BOOLEAN", "l": "LIST"}
    declared = {name: {"parameterType": kind, "isOptional": True} for name, kind in inputs.items()}
    package = document({}, inputDefinitions={"parameters": declared})
    return pipeline_parameters(package, given)


def test_values_get_the_types_that_the_pipeline_declares() -> None:
    assert typed(n="3", x="0.5", on="True", l="[1, 2]") == {
        "n": 3,
        "x": 0.5,
        "on": True,
        "l": [1, 2],
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n": "3.5"}, "-p n=3.5: Invalid value: must be a whole number"),
        ({"on": "yes"}, "must be true or false"),
        ({"l": "{}"}, "must be a JSON list"),
        ({"other": "1"}, 'no parameter "other"'),
    ],
)
def test_a_wrong_value_is_named(given: dict[str, str], says: str) -> None:
    with pytest.raises(CliError, match=says.replace("(", r"\(")):
        typed(**given)


def test_missing_inputs_are_named_together() -> None:
    declared = {
        "a": {"parameterType": "STRING", "description": "where the data is"},
        "b": {"parameterType": "NUMBER_INTEGER"},
        "c": {"parameterType": "STRING", "defaultValue": "x"},
    }
    package = document({}, inputDefinitions={"parameters": declared})
    with pytest.raises(CliError, match=r"a \(string: where the data is\), b \(integer\)"):
        pipeline_parameters(package, {})


def test_words_that_are_no_pairs_are_refused() -> None:
    assert pairs(["a=1=2"]) == {"a": "1=2"}
    with pytest.raises(CliError, match="expected name=value"):
        pairs(["a"])
    with pytest.raises(CliError, match="given twice"):
        pairs(["a=1", "a=2"])


def test_without_caching_every_task_runs_again() -> None:
    package = document({"a": task(cachingOptions={"enableCache": True})}, {"step": step()})
    assert without_caching(package)["root"]["dag"]["tasks"]["a"]["cachingOptions"] == {}


def test_a_workflows_parameters_and_name_are_set() -> None:
    made = with_arguments(WORKFLOW, {"text": "bye"}, "mine")
    assert made["metadata"] == {"name": "mine"}
    assert made["spec"]["arguments"]["parameters"] == [{"name": "text", "value": "bye"}]
    with pytest.raises(CliError, match='no parameter "txt"'):
        with_arguments(WORKFLOW, {"txt": "bye"}, "")


def test_a_tree_is_no_longer_than_the_terminal_and_shows_failures_first() -> None:
    steps = [Step("loop", "each", "running", "loop")]
    steps += [Step(str(i), f"each({i})", "succeeded", parent="loop") for i in range(2000)]
    steps[1501] = Step("1500", "each(1500)", "failed", parent="loop")
    for i in range(100):
        steps[i + 1] = Step(str(i), f"each({i})", "running", "iteration", parent="loop")
        steps.append(Step(f"{i}/a", "inner", "running", parent=str(i)))
    console = Console(width=100)
    lines = console.render_lines(draw(Reading("running", "", StepTree(steps)), "r", 20, 0.0))
    text = "\n".join(str(line) for line in lines)
    assert len(lines) <= 21
    assert "each(1500)" in text


def test_a_tree_says_why_a_step_was_taken_from_the_cache_or_ran_again() -> None:
    steps = [
        Step(
            "a", "load", "cached", cache="same inputs and code as in run 1: its outputs are taken"
        ),
        Step("b", "fit", "succeeded", cache="not cached: parameter depth was 3, is 4"),
        Step(
            "c", "new", "succeeded", cache="not cached: nothing ran with the same inputs and code"
        ),
    ]
    console = Console(width=60)
    with console.capture() as captured:
        console.print(draw(Reading("succeeded", "", StepTree(steps)), "r", 20, 0.0))
    root, load, fit, new = captured.get().splitlines()
    assert "load  cached: same inputs and code as in run 1" in load
    assert load.endswith("…")
    assert "fit  not cached: parameter depth was 3, is 4" in fit
    assert new.strip().endswith("new")
    assert root


def test_a_tree_is_in_the_order_in_which_steps_run() -> None:
    steps = [
        Step("1", "approve", "waiting", after=("2",)),
        Step("2", "fit", "waiting", after=("3",)),
        Step("3", "load", "running"),
    ]
    console = Console(width=60)
    with console.capture() as captured:
        console.print(draw(Reading("running", "", StepTree(steps)), "r", 20, 0.0))
    assert [line.split()[-1] for line in captured.get().splitlines()] == [
        "r",
        "load",
        "fit",
        "approve",
    ]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("run")
    with started(folder / "data", folder) as platform:
        yield platform


def pipeline(folder: Path, script: str) -> str:
    parameters = {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}}
    wired = task(inputs={"n": {"componentInputParameter": "n"}})
    package = document(
        {"first": wired}, {"step": shell(script, n="NUMBER_INTEGER")}, inputDefinitions=parameters
    )
    path = folder / "pipeline.yaml"
    path.write_text(json.dumps(package))
    return str(path)


@pytest.mark.e2e
def test_a_pipeline_is_run_with_its_inputs_and_its_logs(platform: Platform, tmp_path: Path) -> None:
    file = pipeline(tmp_path, "echo number {{$.inputs.parameters['n']}}")
    done = platform.kubeling("run", file, "-p", "n=42", "--experiment", "trials", "--logs")
    assert "✓ first" in done.stdout
    assert "first: number 42" in done.stdout
    assert done.stdout.strip().endswith("succeeded")


@pytest.mark.e2e
def test_a_failed_run_says_why_and_fails(platform: Platform, tmp_path: Path) -> None:
    file = pipeline(tmp_path, "echo oh no >&2; exit 127")
    done = platform.kubeling("run", file, "-p", "n=1", check=False)
    assert done.returncode == 1
    assert "✗ first: exited with code 127: oh no" in done.stdout
    assert "Try this: The command is not in the image" in done.stdout


@pytest.mark.e2e
def test_a_workflow_is_run_and_the_result_is_json(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text(json.dumps(WORKFLOW))
    done = platform.kubeling("run", str(file), "-p", "text=bye", "--json")
    result = json.loads(done.stdout)
    assert result["state"] == "succeeded"
    assert [s["state"] for s in result["steps"]] == ["succeeded"]
    assert platform.kubeling("logs", f"workflow/{result['id']}").stdout == "bye\n"


@pytest.mark.e2e
@pytest.mark.parametrize(("answer", "ends"), [("s\n", 1), ("l\n", 130)])
def test_ctrl_c_asks_whether_to_stop_the_run_or_leave_it(
    platform: Platform, tmp_path: Path, answer: str, ends: int
) -> None:
    gate = platform.workspace / "gate"
    file = tmp_path / "w.json"
    waits = json.loads(json.dumps(WORKFLOW))
    waits["spec"]["templates"][0]["container"]["command"] = ["sh", "-c", "cat gate"]
    file.write_text(json.dumps(waits))
    if not gate.exists():
        os.mkfifo(gate)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kubeling", "run", str(file), "--name", f"stops-{ends}"]
    with subprocess.Popen(
        command, env=platform.environment, stdin=theirs, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "started" in process.stdout.readline()
        platform.until(
            lambda o: o.get("status", {}).get("phase") == "Running", "workflow", f"stops-{ends}"
        )
        process.send_signal(signal.SIGINT)
        os.write(ours, answer.encode())
        process.stdout.read()
        assert process.wait(60) == ends
    os.close(ours)
    os.close(theirs)
    phase = platform.object("workflow", f"stops-{ends}")["status"]["phase"]
    assert phase == ("Failed" if ends == 1 else "Running")


@pytest.mark.e2e
def test_stages_hand_on_what_they_give_by_name(platform: Platform) -> None:
    folder = platform.workspace / "project"
    folder.mkdir()
    (folder / "stages.yaml").write_text("parameters: {rows: 3}\nstages: [load, check, train]\n")
    (folder / "load.py").write_text("def load(rows):\n    return {'data': list(range(rows))}\n")
    (folder / "check.sh").write_text('echo "quality=good" >> "$STAGE_OUTPUTS"\n')
    (folder / "train.py").write_text(
        "def train(data, quality):\n    print(quality, data)\n    return sum(data)\n"
    )
    done = platform.kubeling("run", str(folder / "stages.yaml"), "-p", "rows=4", "--logs")
    assert "train: good [0, 1, 2, 3]" in done.stdout
    assert "train: output train = 6" in done.stdout
    (folder / "train.py").write_text("def train(model):\n    pass\n")
    done = platform.kubeling("run", str(folder / "stages.yaml"), check=False)
    assert done.returncode == 1
    assert "train() needs 'model', which no earlier stage gives" in done.stdout


@pytest.mark.e2e
def test_a_key_shows_what_the_steps_write(platform: Platform, tmp_path: Path) -> None:
    gate = platform.workspace / "key-gate"
    os.mkfifo(gate)
    file = tmp_path / "w.json"
    talks = json.loads(json.dumps(WORKFLOW))
    script = "echo said something; cat key-gate"
    talks["spec"]["templates"][0]["container"]["command"] = ["sh", "-c", script]
    file.write_text(json.dumps(talks))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kubeling", "run", str(file), "--name", "talks"]
    environment = {**platform.environment, "TERM": "xterm"}
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        shown = ""
        while "l: what the steps write" not in shown:
            shown += os.read(ours, 4096).decode(errors="replace")
        assert "said something" not in shown
        os.write(ours, b"l")
        while "said something" not in shown:
            shown += os.read(ours, 4096).decode(errors="replace")
        gate.write_text("")
        with contextlib.suppress(OSError):  # The terminal is gone with the process.
            while piece := os.read(ours, 4096):
                shown += piece.decode(errors="replace")
        assert process.wait(60) == 0
    os.close(ours)
