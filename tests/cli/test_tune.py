"""``kubeling tune``: a plain script is searched, and what is wrong with the words is said."""

from __future__ import annotations

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
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner
from rich.console import Console
from tests.support.platform import Platform, started

from kubeling.cli.errors import CliError
from kubeling.cli.main import cli
from kubeling.cli.tuning.manifest import name_of
from kubeling.cli.tuning.readings import Readings
from kubeling.cli.tuning.view import draw
from kubeling.gateway.trials.model import study_of
from kubeling.gateway.trials.repeat import command_of

SCRIPT = """
import argparse, sys
options = argparse.ArgumentParser()
options.add_argument("--x", type=float)
options.add_argument("--kind")
options.add_argument("--epochs", type=int)
given = options.parse_args()
if given.kind == "bad":
    sys.exit("ModuleNotFoundError: nothing is called bad")
for epoch in range(given.epochs):
    print(f"score={given.x * epoch}")
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("tune")
    with started(folder / "data", folder) as platform:
        (folder / "fit.py").write_text(SCRIPT)
        yield platform


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "train.py"
    file.write_text("")
    return file


def manifest(script: Path, *words: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["tune", "--dry-run", str(script), *words])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = yaml.safe_load(done.output)
    return found


def test_the_experiment_says_what_the_words_say(script: Path) -> None:
    words = ["--param", "lr=1e-4..1e-1:log", "--param", "opt=adam,sgd", "--max", "accuracy"]
    words += ["--metric", "loss:min", "--goal", "0.9", "--trials", "30", "--parallel", "2"]
    words += ["--algorithm", "random", "--setting", "random_state=7", "--learn-from", "earlier"]
    words += ["--", "--epochs=3"]
    # What stands behind -- belongs to the script.
    found = manifest(script, *words[:-2], "--gpus", "1", *words[-2:])
    spec = found["spec"]
    assert found["metadata"]["annotations"]["kubeling.io/warm-start-from"] == "earlier"
    assert spec["objective"]["type"] == "maximize"
    assert spec["objective"]["goal"] == 0.9
    assert spec["objective"]["metricStrategies"] == [{"name": "loss", "value": "min"}]
    assert spec["algorithm"]["algorithmSettings"] == [{"name": "random_state", "value": "7"}]
    assert (spec["maxTrialCount"], spec["parallelTrialCount"]) == (30, 2)
    container = spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][3:] == [
        "--epochs=3",
        "--lr=${trialParameters.lr}",
        "--opt=${trialParameters.opt}",
    ]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}


def test_values_may_come_as_variables(script: Path) -> None:
    found = manifest(script, "--param", "learning-rate=0.1..0.2", "--min", "loss", "--env")
    template = found["spec"]["trialTemplate"]
    container = template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [
        {"name": "LEARNING_RATE", "value": "${trialParameters.learning_rate}"}
    ]
    assert template["trialParameters"] == [{"name": "learning_rate", "reference": "learning-rate"}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--param", "x=1..2"], "one of --max METRIC and --min METRIC"),
        (["--param", "x=1..2", "--max", "a", "--min", "b"], "one of --max METRIC and --min METRIC"),
        (["--max", "a"], "give --param NAME=SPACE"),
        (["--max", "a", "--param", "x=1.."], "the upper bound is missing"),
        (["--max", "a", "--param", "x=1..2", "--param", "x=1,2"], "--param x is there twice"),
        (["--max", "a", "--param", "x=1..2", "--setting", "eta"], "should be NAME=VALUE"),
        (["--max", "a", "--param", "x=1..2", "--metric", "b:mean"], "NAME:min, NAME:max"),
    ],
)
def test_words_that_make_no_search_are_refused(script: Path, words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["tune", str(script), *words])
    assert isinstance(done.exception, CliError)
    assert said in done.exception.message


def test_an_experiment_is_named_after_its_script() -> None:
    assert name_of("src/Train_Model.py", "ab12") == "train-model-ab12"
    assert name_of("1.py", "ab12") == "tune-1-ab12"
    assert len(name_of("x" * 100 + ".py", "ab12")) <= 40


def trial(number: int, state: str, value: str = "", **parameters: str) -> dict[str, Any]:
    metrics = [{"name": "score", "min": value, "max": value, "latest": value}] if value else []
    return {
        "metadata": {"name": f"t{number}", "creationTimestamp": f"2026-01-01T00:00:{number:02}Z"},
        "spec": {"parameterAssignments": [{"name": k, "value": v} for k, v in parameters.items()]},
        "status": {
            "conditions": [{"type": state, "status": "True"}],
            "observation": {"metrics": metrics},
        },
    }


EXPERIMENT: dict[str, Any] = {
    "metadata": {"name": "e", "namespace": "default"},
    "spec": {
        "objective": {"type": "maximize", "objectiveMetricName": "score"},
        "algorithm": {"algorithmName": "tpe"},
        "maxTrialCount": 60,
        "parameters": [
            {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "99"}}
        ],
    },
    "status": {"currentOptimalTrial": {"bestTrialName": "t2"}},
}


def test_the_table_has_room_for_the_best_and_what_runs() -> None:
    trials = [trial(n, "Succeeded", str(1 - abs(n - 2) / 10), x=str(n)) for n in range(1, 50)]
    trials.append(trial(50, "Running", x="50"))
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(draw(study_of(EXPERIMENT, trials), 5, 0.0))
    shown = capture.get()
    assert "49/60 trials" in shown
    assert "best so far: score=1 with x=2" in shown
    rows = [line.split()[0] for line in shown.splitlines()[3:-1]]
    assert rows == ["2", "47", "48", "49", "50"]


def test_a_trial_is_repeated_by_its_containers_command() -> None:
    container = {"name": "main", "command": ["sh", "-c", "python fit.py --x 3 | tee log"]}
    spec = {"template": {"spec": {"containers": [{"name": "side", "command": ["x"]}, container]}}}
    run = {"kind": "Job", "spec": spec}
    assert command_of({"spec": {"runSpec": run, "primaryContainerName": "main"}}) == (
        "python fit.py --x 3 | tee log"
    )
    given = {"name": "main", "command": ["python"], "args": ["a b.py"],
             "env": [{"name": "LR", "value": "0.1"}, {"name": "HOME", "value": "/"}]}  # fmt: skip
    spec = {
        "runSpec": {"spec": {"containers": [given]}},
        "parameterAssignments": [{"name": "lr", "value": "0.1"}],
    }
    assert command_of({"spec": spec}) == "LR=0.1 python 'a b.py'"


@pytest.mark.e2e
def test_a_script_is_searched_and_the_best_is_repeated_by_a_command(platform: Platform) -> None:
    done = platform.run(
        *(sys.executable, "-m", "kubeling", "tune", str(platform.workspace / "fit.py")),
        *("--param", "x=1,2", "--param", "kind=good,bad", "--max", "score"),
        *("--algorithm", "grid", "--trials", "4", "--json", "--", "--epochs=4"),
    )
    found = json.loads(done.stdout)
    assert found["state"] == "succeeded"
    assert found["trials"] == {"succeeded": 2, "failed": 2}
    assert found["best"]["parameters"] == {"x": "2", "kind": "good"}
    assert found["best"]["metrics"] == {"score": 6.0}
    again = platform.run("sh", "-c", found["best"]["command"])
    assert again.stdout.splitlines()[-1] == "score=6.0"


@pytest.mark.e2e
def test_what_failed_is_said_and_the_exit_code_says_that_nothing_was_found(
    platform: Platform,
) -> None:
    done = platform.run(
        *(sys.executable, "-m", "kubeling", "tune", str(platform.workspace / "fit.py")),
        *("--param", "kind=bad,worse", "--param", "x=1..2", "--max", "score", "--trials", "2"),
        *("--max-failed", "1", "--logs", "--name", "nothing", "--", "--epochs=none"),
        check=False,
    )
    assert "#1: fit.py: error: argument --epochs" in done.stdout
    assert done.returncode == 1
    assert "invalid int value: 'none'" in done.stdout
    assert "kubeling why trial/" in done.stdout
    why = platform.kubeling("why", "experiment/nothing").stdout
    assert why.startswith("Experiment/nothing → Trial/nothing-")
    assert "invalid int value: 'none'" in why


@pytest.mark.e2e
def test_a_script_elsewhere_and_an_unknown_algorithm_are_refused(
    platform: Platform, script: Path
) -> None:
    common = ["--param", "x=1..2", "--max", "score"]
    done = platform.kubeling("tune", str(script), *common, check=False)
    assert done.returncode == 1
    assert "is not in the platform's workspace" in done.stderr
    inside = str(platform.workspace / "fit.py")
    done = platform.kubeling("tune", inside, *common, "--algorithm", "guess", check=False)
    assert done.returncode == 1
    assert "spec.algorithm.algorithmName" in done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(("answer", "ends"), [("s\n", 0), ("l\n", 130)])
def test_ctrl_c_asks_whether_to_stop_the_search(platform: Platform, answer: str, ends: int) -> None:
    waits = platform.workspace / "waits.py"
    waits.write_text(
        "import sys\nx = sys.argv[1]\nprint('score=1')\nx == '--x=1' or open('gate')\n"
    )
    if not (platform.workspace / "gate").exists():
        os.mkfifo(platform.workspace / "gate")
    name = f"waits-{ends}"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kubeling", "tune", str(waits), "--name", name]
    command += ["--param", "x=1,2", "--max", "score", "--algorithm", "grid", "--parallel", "2"]
    with subprocess.Popen(
        [*command, "--trials", "2"],
        env=platform.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "score=1" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        os.write(ours, answer.encode())
        process.stdout.read()
        assert process.wait(60) == ends
    os.close(ours)
    os.close(theirs)
    conditions = platform.object("experiment", name)["status"]["conditions"]
    true = {c["type"] for c in conditions if c["status"] == "True"}
    assert ("Succeeded" in true) == (ends == 0)


async def test_trials_under_way_show_the_best_they_have_measured() -> None:
    async def curves(request: web.Request) -> web.Response:
        assert request.query.getall("trial") == ["t2"]
        points = [[1.0, 0.25], [2.0, 0.75], [3.0, 0.5]]
        return web.json_response({"trials": {"t2": {request.query["metric"]: points}}})

    strategies = [{"name": "score", "value": "max"}]
    objective = {**EXPERIMENT["spec"]["objective"], "metricStrategies": strategies}
    experiment = {**EXPERIMENT, "spec": {**EXPERIMENT["spec"], "objective": objective}}
    study = study_of(experiment, [trial(1, "Succeeded", "0.5"), trial(2, "Running")])
    app = web.Application()
    app.router.add_get("/api/tuning/default/e/curves", curves)
    async with TestServer(app) as server, Readings(str(server.make_url("")).rstrip("/")) as found:
        seen = await found.of(study)
    assert [t.metrics for t in seen.trials] == [{"score": 0.5}, {"score": 0.75}]
    async with Readings("http://127.0.0.1:1") as found:
        assert await found.of(study) == study
