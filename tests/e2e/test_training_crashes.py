"""Jobs that train from checkpoints, whose platform is killed again and again: each step once.

A TrainJob reports after every step, and an elastic PyTorchJob grows while its workers crash and are
restarted. ``--fuzz 17`` kills the platform some fifty times, three times in each pair of jobs.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.support.platform import Platform

from kubeling.kube.objects import Obj

pytestmark = pytest.mark.e2e

KILLS = 3
STEPS = 8
CRASHES = (2, 5)

# What both have: a step is written down, then the checkpoint, as a whole.
STEPPING = """
import json, os, pathlib, sys, time, urllib.request
folder, me = pathlib.Path("FOLDER"), os.environ["ME"]

def reached(who):
    try:
        return int((folder / f"{who}.checkpoint").read_text())
    except FileNotFoundError:
        return 0

def take(step):
    with open(folder / "steps", "a") as file:
        file.write(f"{me} {step}\\n")
    partial = folder / f"{me}.partial"
    partial.write_text(str(step + 1))
    partial.rename(folder / f"{me}.checkpoint")

def until(holds):
    while not holds():
        time.sleep(0.02)
"""

# Node 0 reports every step, until somebody has taken the report; the others keep up with it.
NODE = """
def reported(step):
    metrics = [{"name": "step", "value": str(step)}]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = {"progressPercentage": 100 * (step + 1) // STEPS, "metrics": metrics}
    body = json.dumps({"trainerStatus": {**status, "lastUpdatedTime": now}}).encode()
    token = open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()
    headers = {"Authorization": f"Bearer {token}"}
    url = os.environ["KUBEFLOW_TRAINER_SERVER_URL"]
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5)
    except OSError:
        return False
    return True

node = os.environ["JAX_PROCESS_ID"]
leader, me = f"{me}-0", f"{me}-{node}"
for step in range(reached(me), STEPS):
    until(lambda: node == "0" or reached(leader) > step)
    take(step)
    until(lambda: node != "0" or reported(step))
"""

# A worker crashes after some of its steps; the first one ends when the one that came later has.
WORKER = """
for step in range(reached(me), STEPS):
    take(step)
    if step in CRASHES:
        sys.exit(130)
if me.endswith("-0"):
    until(lambda: reached(me[:-1] + "1") == STEPS)
"""


def script(text: str, folder: Path) -> list[str]:
    told = {"FOLDER": str(folder), "STEPS": str(STEPS), "CRASHES": str(CRASHES)}
    text = STEPPING + text
    for name, value in told.items():
        text = text.replace(name, value)
    return ["python", "-c", text]


def train_job(name: str, folder: Path) -> Obj:
    trainer = {
        "numNodes": 2,
        "image": "python:3.11",
        "command": script(NODE, folder),
        "env": [{"name": "ME", "value": name}],
    }
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": {"runtimeRef": {"name": "jax-distributed"}, "trainer": trainer},
    }


def elastic_job(name: str, folder: Path) -> Obj:
    """One worker, which may become two."""
    own_name = {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    container = {"name": "pytorch", "image": "python:3.11", "env": [own_name]}
    container["command"] = script(WORKER, folder)
    worker = {
        "replicas": 1,
        "restartPolicy": "ExitCode",
        "template": {"spec": {"containers": [container]}},
    }
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": name},
        "spec": {
            "elasticPolicy": {"minReplicas": 1, "maxReplicas": 2},
            "pytorchReplicaSpecs": {"Worker": worker},
        },
    }


def test_every_step_is_taken_once_and_the_last_report_is_kept(
    solo: Platform, fuzz: int, chance: random.Random
) -> None:
    for pair in range(fuzz):
        folder = solo.workspace / f"pair-{pair}"
        folder.mkdir()
        folder.chmod(0o777)
        jobs = [train_job(f"nodes-{pair}", folder), elastic_job(f"grows-{pair}", folder)]
        listed = {"apiVersion": "v1", "kind": "List", "items": jobs}
        solo.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
        steps = [f"nodes-{pair}-{node} {step}" for node in range(2) for step in range(STEPS)]
        steps += [f"grows-{pair}-worker-{n} {step}" for n in range(2) for step in range(STEPS)]
        grows = chance.randrange(KILLS)
        for kill, moment in enumerate(sorted(chance.choices(range(len(steps)), k=KILLS))):
            until_taken(folder, moment if kill > grows else min(moment, 3 * STEPS))
            if kill == grows:
                solo.kubectl("scale", f"pytorchjob/grows-{pair}", "--replicas=2")
            solo.kill()
            solo.start()
        trained = solo.until(ended, "trainjob", f"nodes-{pair}", timeout=180)["status"]
        grown = solo.until(ended, "pytorchjob", f"grows-{pair}", timeout=180)["status"]
        assert trained["conditions"][-1]["type"] == "Complete", trained
        assert trained["trainerStatus"]["progressPercentage"] == 100
        assert trained["trainerStatus"]["metrics"] == [{"name": "step", "value": str(STEPS - 1)}]
        assert grown["conditions"][-1]["type"] == "Succeeded", grown
        assert grown["replicaStatuses"]["Worker"]["restarts"] == 2 * len(CRASHES)
        assert Counter(taken(folder)) == Counter(steps)


def taken(folder: Path) -> list[str]:
    """The steps in their order."""
    try:
        return (folder / "steps").read_text().splitlines()
    except FileNotFoundError:
        return []


def until_taken(folder: Path, count: int) -> None:
    """Waits until so many steps have been taken."""
    deadline = time.monotonic() + 120
    while len(taken(folder)) < count:
        assert time.monotonic() < deadline, f"only {taken(folder)} of {count} steps"
        time.sleep(0.01)


def ended(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Succeeded", "Failed") for c in conditions)
