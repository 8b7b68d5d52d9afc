"""What a pipeline's run does when the disk is full: it waits, says so, and goes on."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.specs import document, task
from tests.support.disks import fill, needs_mounts, small_disk
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]

RUNS = "/apis/v2beta1/runs"


def asked(platform: Platform, path: str, body: Obj | None = None) -> tuple[int, Obj]:
    """Status and answer of the API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        platform.url + path, data, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def component(script: str) -> Obj:
    command = ["sh", "-ec", script]
    return {
        "executorLabel": script,
        "executor": {"container": {"image": "busybox", "command": command}},
    }


def begun(platform: Platform, *scripts: str) -> tuple[str, str]:
    """Runs shell steps one after another; the run's id and the object's name."""
    names = [f"step-{number}" for number in range(len(scripts))]
    spec = document(
        {name: task(name, *names[:at][-1:]) for at, name in enumerate(names)},
        {name: component(script) for name, script in zip(names, scripts, strict=True)},
    )
    status, run = asked(platform, RUNS, {"display_name": "r", "pipeline_spec": spec})
    assert status == 200, run
    (found,) = json.loads(platform.kubectl("get", "runs", "-o", "json"))["items"]
    return str(run["run_id"]), str(found["metadata"]["name"])


def has_ended(run: Obj) -> bool:
    return (run.get("status") or {}).get("state") in ("SUCCEEDED", "FAILED")


@needs_mounts
def test_a_step_that_ends_while_the_disk_is_full_has_ended(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    with small_disk(tmp_path / "disk") as disk, started(disk / "data", workspace) as platform:
        waiting = "echo x >>ran; mkfifo gate; cat gate >read; echo said"
        run_id, name = begun(platform, waiting, "echo y >>ran")
        platform.until(lambda run: "RUNNING" in str(run.get("status")), "runs", name)
        platform.until(lambda pod: pod["status"]["phase"] == "Running", "pods", first_pod(platform))
        fill(disk / "ballast")
        body = {"display_name": "e", "description": "x" * 30_000}
        status, refused = asked(platform, "/apis/v2beta1/experiments", body)
        assert status == 507
        assert "is full: free some space and try again" in refused["message"]
        (workspace / "gate").write_text("go\n")  # the step ends now
        status, run = asked(platform, f"{RUNS}/{run_id}")
        assert run["state"] == "RUNNING"

        (disk / "ballast").unlink()
        run = platform.until(has_ended, "runs", name)
        assert run["status"]["state"] == "SUCCEEDED", run["status"]
        assert (workspace / "ran").read_text().split() == ["x", "y"], "each step ran once"
        assert "said" in platform.kubectl("logs", first_pod(platform))
        assert "Traceback" not in (platform.data_dir / "kubeling.log").read_text()


def first_pod(platform: Platform) -> str:
    found = json.loads(platform.kubectl("get", "pods", "-o", "json"))["items"]
    return min(str(pod["metadata"]["name"]) for pod in found if "-step-0-" in str(pod["metadata"]))
