"""An experiment whose platform is killed again and again: the same trials, every reading, once.

``--fuzz 17`` kills it some fifty times.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.support.platform import Platform

from kubeling.kube.objects import Obj
from kubeling.rpc.client import call
from kubeling.tuning.grpc import messages, services

pytestmark = pytest.mark.e2e

KILLS = 3
READINGS = 10
TRAIN = """\
import sys, time
for step in range({readings}):
    print(f"loss={{int(sys.argv[1]) + step}}", flush=True)
    time.sleep(0.03)
open("{folder}/ran", "a").write(sys.argv[1] + "\\n")
"""


def experiment(folder: Path, trials: int) -> Obj:
    """A grid of as many points as trials, so that none may be left out or tried twice."""
    command = ["python", "-c", TRAIN.format(readings=READINGS, folder=folder)]
    container: Obj = {"name": "train", "image": "python:3.11"}
    container["command"] = [*command, "${trialParameters.n}"]
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    space = {"min": "0", "max": str(trials - 1), "step": "1"}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "crashes", "namespace": "default"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "grid"},
            "parallelTrialCount": 3,
            "maxTrialCount": trials,
            "maxFailedTrialCount": 1,
            "parameters": [{"name": "n", "parameterType": "int", "feasibleSpace": space}],
            "trialTemplate": {
                "primaryContainerName": "train",
                "trialParameters": [{"name": "n", "reference": "n"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"backoffLimit": 0, "template": template},
                },
            },
        },
    }


def test_an_experiment_is_as_without_the_kills(
    solo: Platform, fuzz: int, chance: random.Random
) -> None:
    folder = solo.workspace / "experiment"
    folder.mkdir()
    folder.chmod(0o777)
    kills, trials = KILLS * fuzz, 8 if fuzz == 1 else 60
    moments = sorted(chance.sample(range(trials), min(kills, trials)))
    solo.kubectl("apply", "-f", "-", stdin=json.dumps(experiment(folder, trials)))
    for moment in moments:
        solo.until(lambda found, moment=moment: ended(found) >= moment, "experiments", "crashes")
        solo.kill()
        solo.start()
    done = solo.until(
        lambda found: conditions(found)[-1:] in (["Succeeded"], ["Failed"]),
        "experiments",
        "crashes",
    )
    assert conditions(done)[-1] == "Succeeded", done["status"]
    assert done["status"]["trialsSucceeded"] == trials
    found = json.loads(solo.kubectl("get", "trials", "-o", "json"))["items"]
    own = [t for t in found if t["metadata"]["name"].startswith("crashes-")]
    points = sorted(int(t["spec"]["parameterAssignments"][0]["value"]) for t in own)
    assert points == list(range(trials)), "every point is tried once"
    ran = Counter((folder / "ran").read_text().split())
    assert set(ran.values()) == {1}, "no trial runs twice"
    for trial in own:
        first = int(trial["spec"]["parameterAssignments"][0]["value"])
        assert readings(solo, trial["metadata"]["name"]) == [first + n for n in range(READINGS)]


def readings(platform: Platform, trial: str) -> list[int]:
    """What the DB manager has of a trial."""
    address = f"127.0.0.1:{platform.endpoints['listeners']['katib-db-manager']}"
    asked = messages.GetObservationLogRequest(trial, "loss")
    reply = asyncio.run(call(address, services.GET_OBSERVATION_LOG, asked))
    return [int(log.metric.value) for log in reply.observation_log.metric_logs]


def conditions(experiment: Obj) -> list[str]:
    return [c["type"] for c in (experiment.get("status") or {}).get("conditions") or ()]


def ended(experiment: Obj) -> int:
    return len((experiment.get("status") or {}).get("succeededTrialList") or ())
