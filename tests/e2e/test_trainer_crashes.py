"""A search over TrainJobs of two nodes each, whose platform is killed again and again.

``--fuzz 17`` kills it some fifty times in a search of a hundred trials.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.support.platform import Platform

from kubeling.kube.objects import Obj

pytestmark = pytest.mark.e2e

KILLS = 3
NODES = 2

# Node 0 reports, and tries again while nobody answers; every node says once that it ran.
NODE = """
import json, os, time, urllib.request
trial, node = os.environ["KUBEFLOW_TRAINER_OPT_TRIAL"], os.environ["JAX_PROCESS_ID"]
now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
status = {"metrics": [{"name": "score", "value": trial}], "lastUpdatedTime": now}
body = json.dumps({"trainerStatus": status}).encode()
while node == "0":
    token = open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()
    headers = {"Authorization": f"Bearer {token}"}
    url = os.environ["KUBEFLOW_TRAINER_SERVER_URL"]
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5)
        break
    except OSError:
        time.sleep(0.1)
with open("FOLDER/ran", "a") as file:
    file.write(f"{trial}-{node}\\n")
"""


def search(name: str, folder: Path, trials: int) -> Obj:
    trainer = {
        "numNodes": NODES,
        "image": "python:3.11",
        "command": ["python", "-c", NODE.replace("FOLDER", str(folder))],
    }
    choices = {"categorical": {"choices": [str(number) for number in range(trials)]}}
    spec = {
        "objectives": [{"metric": "score", "direction": "Maximize"}],
        "searchAlgorithm": {"grid": {}},
        "parameters": [{"name": "trial", "searchSpace": choices}],
        "numTrials": trials,
        "parallelTrials": 2,
        "trainJobTemplate": {
            "spec": {"runtimeRef": {"name": "jax-distributed"}, "trainer": trainer}
        },
    }
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "OptimizationJob",
        "metadata": {"name": name},
        "spec": spec,
    }


def test_no_trial_runs_twice_and_no_metric_is_lost(
    solo: Platform, fuzz: int, chance: random.Random
) -> None:
    folder = solo.workspace / "trials"
    folder.mkdir()
    folder.chmod(0o777)
    trials, kills = (6, KILLS) if fuzz == 1 else (100, KILLS * fuzz)
    solo.kubectl("apply", "-f", "-", stdin=json.dumps(search("killed", folder, trials)))
    for moment in sorted(chance.choices(range(trials), k=kills)):
        trial = f"killed-trial-{moment}"
        state = chance.choice(("there", "Running", "Complete"))
        solo.until(
            lambda found, state=state: state == "there" or phase(found) in (state, "Complete"),
            "trainjob",
            trial,
        )
        solo.kill()
        solo.start()
    done = solo.until(ended, "optimizationjob", "killed", timeout=300)
    assert done["status"]["conditions"][-1]["type"] == "Complete", done["status"]
    assert done["status"]["result"]["trainJobName"] == f"killed-trial-{trials - 1}"
    ran = Counter((folder / "ran").read_text().split())
    assert ran.keys() == {f"{trial}-{node}" for trial in range(trials) for node in range(NODES)}
    assert set(ran.values()) == {1}, "a node that had succeeded ran again"
    jobs = json.loads(solo.kubectl("get", "trainjobs", "-o", "json"))["items"]
    reported = [job["status"]["trainerStatus"]["metrics"][0]["value"] for job in jobs]
    assert sorted(map(int, reported)) == list(range(trials))


def phase(train_job: Obj) -> str:
    return str((train_job.get("status") or {}).get("phase"))


def ended(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") for c in conditions)
