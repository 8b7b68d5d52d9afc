"""What a user may rely on when something breaks: crashes, ports and disks in use, newer data."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.disks import fill, needs_mounts, small_disk
from tests.support.platform import Platform, started
from tests.support.processes import processes_of

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]

SEED = 20
KILLS = 5
LATEST_KILL_SECONDS = 1.0
STEPS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
TRIALS = 8


def step(name: str) -> str:
    """A shell step that leaves a line behind, in the middle of some work."""
    return f"sleep 0.3; echo {name} >> lines-$KIND; sleep 0.3"


def shell(script: str, kind: str) -> Obj:
    """A container that runs ``script`` in the workspace."""
    return {
        "image": "busybox",
        "command": ["sh", "-c", script],
        "env": [{"name": "KIND", "value": kind}],
    }


def workflow() -> Obj:
    templates = [{"name": name, "container": shell(step(name), "workflow")} for name in STEPS]
    entry = {"name": "main", "steps": [[{"name": name, "template": name}] for name in STEPS]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "survivor"},
        "spec": {"entrypoint": "main", "templates": [entry, *templates]},
    }


def experiment() -> Obj:
    script = f"{step('${trialParameters.trial}')}; echo accuracy=0.${{trialParameters.x}}"
    main = {"name": "main", **shell(script, "experiment")}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [main]}},
        },
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "survivor"},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": 2,
            "maxTrialCount": TRIALS,
            "maxFailedTrialCount": 0,
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "int",
                    "feasibleSpace": {"min": "1", "max": "9"},
                }
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [
                    {"name": "x", "reference": "x"},
                    {"name": "trial", "reference": "${trialSpec.Name}"},
                ],
                "trialSpec": job,
            },
        },
    }


def pipeline() -> Obj:
    """The intermediate representation of container components that follow each other."""
    tasks, components, executors = {}, {}, {}
    before: list[str] = []
    for name in STEPS:
        tasks[name] = {
            "taskInfo": {"name": name},
            "componentRef": {"name": f"comp-{name}"},
            "dependentTasks": before,
        }
        components[f"comp-{name}"] = {"executorLabel": f"exec-{name}"}
        executors[f"exec-{name}"] = {"container": shell(step(name), "pipeline")}
        before = [name]
    return {
        "pipelineInfo": {"name": "survivor"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.3",
        "components": components,
        "deploymentSpec": {"executors": executors},
        "root": {"dag": {"tasks": tasks}},
    }


def post(platform: Platform, path: str, body: bytes, content_type: str) -> Obj:
    """What the gateway answers to a POST."""
    request = urllib.request.Request(
        platform.url + path, data=body, headers={"Content-Type": content_type}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: Obj = json.load(answer)
        return found


def run_pipeline(platform: Platform) -> str:
    """Uploads the pipeline and runs it; returns the run's id."""
    head = '--x\r\nContent-Disposition: form-data; name="uploadfile"; filename="p.yaml"\r\n\r\n'
    form = f"{head}{yaml.safe_dump(pipeline())}\r\n--x--\r\n".encode()
    upload = "/apis/v2beta1/pipelines/upload?name=survivor"
    uploaded = post(platform, upload, form, "multipart/form-data; boundary=x")
    body = {
        "display_name": "survivor",
        "pipeline_version_reference": {"pipeline_id": uploaded["pipeline_id"]},
    }
    run = post(platform, "/apis/v2beta1/runs", json.dumps(body).encode(), "application/json")
    return str(run["run_id"])


def state_of(platform: Platform, run_id: str) -> str:
    with urllib.request.urlopen(f"{platform.url}/apis/v2beta1/runs/{run_id}", timeout=20) as answer:
        return str(json.load(answer)["state"])


def holds(obj: Obj, *types: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] in types and c["status"] == "True" for c in conditions)


def ended(obj: Obj) -> bool:
    """Whether a workflow has ended, or another object's conditions say that it has."""
    phase = (obj.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Error") or holds(obj, "Succeeded", "Failed")


def lines(platform: Platform, kind: str) -> list[str]:
    return (platform.workspace / f"lines-{kind}").read_text().splitlines()


def refusal(platform: Platform, *arguments: str) -> str:
    """The one line of an ``up`` that fails, without the hint."""
    done = platform.kubeling("up", "--detach", *arguments, check=False, timeout=30)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    message, *hint = done.stderr.strip().splitlines()
    assert len(hint) <= 1, done.stderr
    return message


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Platform]:
    """A platform of the test's own, which may break it."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    with started(tmp_path / "data", workspace) as platform:
        yield platform


def test_work_goes_on_after_crashes_and_no_step_runs_twice(own: Platform) -> None:
    own.kubectl("apply", "-f", "-", stdin=json.dumps(workflow()))
    own.kubectl("apply", "-f", "-", stdin=json.dumps(experiment()))
    run_id = run_pipeline(own)

    moments = random.Random(SEED)
    for _ in range(KILLS):
        time.sleep(moments.uniform(0, LATEST_KILL_SECONDS))  # The moment of the crash is the input.
        own.kill()
        own.start()

    assert own.until(ended, "workflow", "survivor")["status"]["phase"] == "Succeeded"
    assert holds(own.until(ended, "experiment", "survivor"), "Succeeded")
    own.kubectl("wait", "runs", "--all", "--for=condition=Succeeded", "--timeout=60s")
    assert state_of(own, run_id) == "SUCCEEDED"

    assert lines(own, "workflow") == list(STEPS)
    assert lines(own, "pipeline") == list(STEPS)
    trials = json.loads(own.kubectl("get", "trials", "-o", "json"))["items"]
    assert sorted(lines(own, "experiment")) == sorted(t["metadata"]["name"] for t in trials)
    assert len(trials) == TRIALS
    assert all(holds(trial, "Succeeded") for trial in trials)


def test_reset_after_a_crash_leaves_no_process_behind(own: Platform) -> None:
    endless = {**workflow(), "spec": {"entrypoint": "main", "templates": []}}
    endless["spec"]["templates"] = [{"name": "main", "container": shell("sleep 600", "endless")}]
    own.kubectl("apply", "-f", "-", stdin=json.dumps(endless))
    selector = "workflows.argoproj.io/workflow=survivor"
    own.until(lambda o: (o.get("status") or {}).get("phase") == "Running", "workflow", "survivor")
    own.kubectl("wait", "pod", "-l", selector, "--for=condition=Ready", "--timeout=30s")

    own.kill()
    assert processes_of(own.data_dir), "the pod outlives its platform"
    own.kubeling("reset", "--yes", "--data-dir", str(own.data_dir))
    assert processes_of(own.data_dir) == []
    assert not own.data_dir.exists()


def test_a_port_in_use_is_one_line(solo: Platform, tmp_path: Path) -> None:
    port = str(solo.endpoints["gateway_port"])
    message = refusal(solo, "--port", port, "--data-dir", str(tmp_path / "other"))
    assert f"port {port} of 127.0.0.1 is in use" in message
    assert processes_of(tmp_path / "other") == []


def test_a_data_directory_has_one_platform(solo: Platform) -> None:
    solo.kubectl("create", "configmap", "kept")
    message = refusal(solo, "--port", "0", "--data-dir", str(solo.data_dir))
    assert f"in use by another platform (process {solo.endpoints['pid']}, {solo.url})" in message
    solo.kubectl("delete", "configmap", "kept")


def test_an_api_port_that_was_taken_meanwhile_is_replaced(own: Platform) -> None:
    own.kubectl("create", "configmap", "kept")
    own.kill()
    with socket.create_server(("127.0.0.1", own.endpoints["api_port"])):
        own.start()
        assert own.object("configmap", "kept")


@pytest.mark.parametrize("what", ["layout", "objects"])
def test_data_of_a_newer_version_is_refused_and_kept(own: Platform, what: str) -> None:
    own.kubectl("create", "configmap", "kept")
    own.kubeling("down", "--data-dir", str(own.data_dir))
    before = written_as(own.data_dir, what, 99)
    message = refusal(own, "--port", "0", "--data-dir", str(own.data_dir))
    assert message.startswith(f"error: {own.data_dir}")
    assert "written by a newer" in message
    written_as(own.data_dir, what, before)
    own.start()
    assert own.object("configmap", "kept")


@needs_mounts
def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, started(disk / "data", tmp_path) as platform:
        platform.kubectl("create", "configmap", "kept")
        ballast = disk / "ballast"
        fill(ballast)
        manifest = tmp_path / "large.json"
        manifest.write_text(json.dumps(large("lost")))
        for client in (["kubectl", "create"], ["kubeling", "apply"]):
            done = platform.run(*client, "-f", str(manifest), check=False, timeout=30)
            assert done.returncode == 1
            assert "is full: free some space" in done.stderr
            assert len(done.stderr.splitlines()) == 1
        acknowledged = small_writes_until_refused(platform)

        ballast.unlink()
        platform.kubectl("create", "-f", str(manifest))
        platform.kubectl("apply", "-f", "-", stdin=json.dumps(workflow()))
        assert platform.until(ended, "workflow", "survivor")["status"]["phase"] == "Succeeded"
        platform.kill()
        platform.start()
        listed = json.loads(platform.kubectl("get", "configmaps", "-o", "json"))["items"]
        found = {each["metadata"]["name"] for each in listed} - {"kube-root-ca.crt"}
        assert found == {"kept", "lost", *acknowledged}


@needs_mounts
@pytest.mark.parametrize("left", [0, 32768])
def test_a_start_on_a_full_disk_is_one_line(tmp_path: Path, left: int) -> None:
    with small_disk(tmp_path / "disk") as disk, started(disk / "data", tmp_path) as platform:
        platform.kubectl("create", "configmap", "kept")
        ballast = disk / "ballast"
        fill(ballast)
        platform.kubeling("down", "--data-dir", str(platform.data_dir))
        fill(ballast, left)
        for folder in (platform.data_dir, disk / "new"):
            message = refusal(platform, "--port", "0", "--data-dir", str(folder))
            assert message.startswith(f"error: the disk that holds {folder} is full: free some")

        ballast.unlink()
        with started(disk / "new", tmp_path):
            platform.start()
            assert platform.object("configmap", "kept")


def test_platforms_live_side_by_side(own: Platform, tmp_path: Path) -> None:
    with started(tmp_path / "other", own.workspace) as other:
        for platform in (own, other):
            platform.kubectl("apply", "-f", "-", stdin=json.dumps(workflow()))
        for platform in (own, other):
            found = platform.until(ended, "workflow", "survivor")
            assert found["status"]["phase"] == "Succeeded"
        assert sorted(lines(own, "workflow")) == sorted([*STEPS, *STEPS])
    own.kubectl("run", "alone", "--image=busybox", "--restart=Never", "--", "true")
    own.until(lambda o: o["status"].get("phase") == "Succeeded", "pod", "alone", timeout=30)
    assert processes_of(tmp_path / "other") == []


def written_as(data_dir: Path, what: str, version: int) -> int:
    """Marks a data directory as written with a version; returns the one it had."""
    if what == "layout":
        layout = data_dir / "layout"
        before = int(layout.read_text())
        layout.write_text(f"{version}\n")
        return before
    with contextlib.closing(sqlite3.connect(data_dir / "objects.db")) as database:
        (found,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version}")
        database.commit()
        return int(found)


def large(name: str) -> Obj:
    """An object that does not fit into the little space a store has left."""
    metadata = {"name": name, "namespace": "default"}
    data = {"large": "x" * 900_000}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def small_writes_until_refused(platform: Platform) -> list[str]:
    """The objects that were acknowledged while there was a little space left."""
    acknowledged: list[str] = []
    for number in range(1000):
        name = f"small-{number}"
        create = ["kubectl", "create", "configmap", name, f"--from-literal=text={'x' * 50_000}"]
        if platform.run(*create, check=False).returncode != 0:
            return acknowledged
        acknowledged.append(name)
    raise AssertionError("the disk never filled")
