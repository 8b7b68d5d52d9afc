"""Kubeflow Pipelines through its unmodified SDK, in an environment of its own, as users have it."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.support.kfp_environment import environment
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "pipelines"
DRIVER = Path(__file__).parent / "kfp_driver.py"
WALK = Path(__file__).parent / "kfp_walk.py"
SDK = "2.17.3"


class Kfp:
    """The SDK's environment, and a user in it."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = python
        self._folder = folder

    def compile(self, example: str) -> Path:
        """Compiles an example as its README says."""
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        subprocess.run(
            [str(self.python), str(EXAMPLES / f"{example}.py")],
            cwd=self._folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        return self._folder / f"{example}.yaml"

    def __call__(self, platform: Platform, command: str, *arguments: Any) -> Any:
        """Runs a command of the driver against the platform; returns what it prints."""
        done = platform.run(str(self.python), str(DRIVER), command, *map(str, arguments))
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def kfp(tmp_path_factory: pytest.TempPathFactory) -> Kfp:
    """The SDK, installed once: its pins do not go together with those of the platform."""
    return Kfp(environment(SDK), tmp_path_factory.mktemp("kfp"))


def test_a_pipeline_of_python_components_runs(platform: Platform, kfp: Kfp) -> None:
    package = kfp.compile("train_digits")
    run = kfp(platform, "run", package, json.dumps({"depth": 12}))
    assert run["state"] == "SUCCEEDED", run
    states = {task["name"]: task["state"] for task in run["tasks"]}
    assert states["evaluate"] == "SUCCEEDED"
    assert states["approve"] == "SUCCEEDED"

    tasks = _tasks(platform, run["run_id"])
    measured = tasks["evaluate"]["outputs"]
    accuracy = measured["parameters"]["Output"]
    assert 0.8 < accuracy <= 1.0
    assert measured["artifacts"]["metrics"][0]["metadata"] == {"accuracy": accuracy}
    model = tasks["fit"]["outputs"]["artifacts"]["model"][0]
    assert model["type"] == "system.Model"
    assert model["metadata"] == {"depth": 12}


def test_kubeling_run_compiles_a_python_file_and_watches_the_run(
    platform: Platform, kfp: Kfp
) -> None:
    file = str(ROOT / "examples/pipelines/train_digits.py")
    done = platform.kubeling("run", file, "-p", "depth=11", "--python", str(kfp.python), "--json")
    result = json.loads(done.stdout)
    assert result["state"] == "succeeded"
    refused = platform.kubeling(
        "run", file, "-p", "deep=1", "--python", str(kfp.python), check=False
    )
    assert 'no parameter "deep"' in refused.stderr


def test_the_same_again_is_taken_from_the_cache(platform: Platform, kfp: Kfp) -> None:
    package = kfp.compile("train_digits")
    kfp(platform, "run", package, json.dumps({"depth": 9}))
    again = kfp(platform, "run", package, json.dumps({"depth": 9}))
    fit = _tasks(platform, again["run_id"])["fit"]
    assert fit["state"] == "CACHED"
    assert "same inputs and code" in fit["status_metadata"]["cache"]
    pods = platform.kubectl("get", "pods", "-l", f"pipeline/runid={again['run_id']}", "-o", "name")
    assert pods == ""


def test_loops_branches_retries_and_exit_handlers(solo: Platform, kfp: Kfp) -> None:
    package = kfp.compile("control_flow")
    marker = str(solo.workspace / "marker")
    run = kfp(solo, "run", package, json.dumps({"marker": marker, "numbers": [2, 3]}))
    assert run["state"] == "SUCCEEDED", run
    tasks = _tasks(solo, run["run_id"])
    assert tasks["total"]["outputs"]["parameters"]["Output"] == 13
    assert tasks["say"]["outputs"]["parameters"]["Output"] == "won 13"
    assert tasks["fail-at-first"]["attempt"] == 1
    assert tasks["clean-up"]["inputs"]["parameters"]["status"]["state"] == "COMPLETE"


def test_uploading_versions_experiments_and_lists(solo: Platform, kfp: Kfp) -> None:
    found = kfp(solo, "lifecycle", kfp.compile("control_flow"))
    assert found["versions"] == ["control-flow-lifecycle", "second"]
    assert found["found"] == found["pipeline_id"]
    assert found["runs_in_experiment"] == 1
    assert found["archived"] == "ARCHIVED"
    assert found["duplicate"] == 409
    assert found["unknown"] == 404


def test_every_command_and_every_method_does_what_it_says(
    solo: Platform, kfp: Kfp, tmp_path: Path
) -> None:
    done = solo.run(str(kfp.python), "-W", "ignore", str(WALK), str(tmp_path), timeout=200)
    found = json.loads(done.stdout.splitlines()[-1])
    commands, methods = found["commands"], found["methods"]
    assert "walk" in commands.pop("experiments")
    assert "walk" in commands.pop("pipelines")
    assert all(entry["display_name"] != "walk" for entry in commands.pop("left"))
    assert commands == {
        "experiment": "first steps", "pipeline": "walk", "versions": ["second", "walk"],
        "version": "second", "watched": True, "runs": ["by-file", "by-name", "by-version"],
        "detail": "by-version", "jobs": ["daily", "nightly"], "disabled": "DISABLED",
        "enabled": "ENABLED", "archived": "ARCHIVED",
    }  # fmt: skip
    assert {"Default", "methods"} <= set(methods.pop("experiments"))
    assert methods == {
        "multi_user": False, "namespace": "", "version": "v2", "versions": 3, "found": ["methods"],
        "runs": ["four", "one", "three", "two"], "job": ["DISABLED", "3", True, "d"], "jobs": 1,
    }  # fmt: skip


def test_terminating_ends_the_wait_and_retrying_goes_on(solo: Platform, kfp: Kfp) -> None:
    found = kfp(solo, "terminate", solo.workspace)
    assert found["state"] == "FAILED"
    assert "terminated" in found["error"]
    assert found["seconds"] < 30
    assert found["retried"] == "SUCCEEDED"


def test_a_recurring_run_fires(solo: Platform, kfp: Kfp) -> None:
    found = kfp(solo, "recurring")
    assert found["fired"] >= 1
    assert found["status"] == ["ENABLED", "DISABLED"]


def test_a_run_can_be_created_with_kubectl(solo: Platform) -> None:
    name = solo.kubectl("create", "-f", str(EXAMPLES / "run.yaml"), "-o", "name").strip()
    solo.kubectl("wait", name, "--for=condition=Succeeded", "--timeout=60s")
    run = json.loads(solo.kubectl("get", name, "-o", "json"))
    assert run["status"]["tasks"] == "1/1"
    task = _tasks(solo, run["metadata"]["uid"])["count"]
    assert task["outputs"]["parameters"]["words"] == 4


def test_a_run_outlives_a_crash_and_repeats_nothing(solo: Platform, kfp: Kfp) -> None:
    run_id = kfp(solo, "submit_slow", solo.workspace)
    solo.until(
        lambda run: (run.get("status") or {}).get("tasks") == "1/2",
        "runs",
        _name_of(solo, run_id),
    )
    solo.kill()
    solo.start()
    run = kfp(solo, "wait", run_id)
    assert run["state"] == "SUCCEEDED", run
    assert (solo.workspace / "ran-first").read_text().count("x") == 1
    assert (solo.workspace / "ran-second").read_text().count("x") == 1


def test_a_steps_log_outlives_its_pod(solo: Platform, kfp: Kfp) -> None:
    run_id = kfp(solo, "submit_slow", solo.workspace)
    kfp(solo, "wait", run_id)
    pod = _tasks(solo, run_id)["shell"]["pods"][0]["name"]
    kept = solo.data_dir / "artifacts" / "pipelines" / "default" / ".logs" / run_id / f"{pod}.log"
    deadline = time.monotonic() + 60
    while not kept.exists():
        assert time.monotonic() < deadline, "the log is not kept"
        time.sleep(0.05)
    solo.kubectl("delete", "pods", "-l", f"pipeline/runid={run_id}")
    assert kept.read_text() == "ran\n"
    assert _get(solo, f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log") == b"ran\n"
    whole = _get(solo, f"/apis/v2beta1/runs/{run_id}/log")
    assert whole == b"==> shell <==\nran\n\n==> shell-2 <==\n"


def _tasks(platform: Platform, run_id: str) -> dict[str, Any]:
    """The run's tasks by name, as the native API shows them."""
    listed = _get(platform, f"/apis/v2beta1/tasks?run_id={run_id}&page_size=200&view=VALUES")
    return {task["name"]: task for task in json.loads(listed)["tasks"]}


def _get(platform: Platform, path: str) -> bytes:
    with urllib.request.urlopen(platform.url + path) as response:
        return bytes(response.read())


def _name_of(platform: Platform, run_id: str) -> str:
    """The name of the Run object."""
    runs = json.loads(platform.kubectl("get", "runs", "-o", "json"))["items"]
    return next(r["metadata"]["name"] for r in runs if r["metadata"]["uid"] == run_id)
