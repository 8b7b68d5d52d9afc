"""What becomes of training jobs when something breaks: the platform, a replica, or the plan."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.platform import Platform, started

from kubeling.training.job import JobKind
from kubeling.training.kinds import JAX, KINDS, MPI, PYTORCH, TENSORFLOW, XGBOOST

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]

SEED = 5
KILLS = 3
TRAINS = "echo begins $HOSTNAME >>lines; sleep 2; echo ends $HOSTNAME >>lines"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("workspace")
    with started(tmp_path_factory.mktemp("data") / "d", workspace) as running:
        yield running


def job(
    kind: JobKind, name: str, roles: dict[str, int], script: str = TRAINS, **policy: Any
) -> Obj:
    """A job whose replicas run a shell script, with pods that are named to it."""
    named = {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    container = {
        "name": kind.container,
        "image": "busybox",
        "command": ["sh", "-c", script],
        "env": [named],
    }
    replicas = {
        role: {"replicas": count, "template": {"spec": {"containers": [dict(container)]}}}
        for role, count in roles.items()
    }
    return {
        "apiVersion": kind.resource.api_version,
        "kind": kind.name,
        "metadata": {"name": name},
        "spec": {kind.specs_field: replicas, "runPolicy": policy},
    }


def apply(platform: Platform, *jobs: Obj) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": jobs}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(listed))


def has(*types: str) -> Callable[[Obj], bool]:
    """Whether one of the conditions is true."""

    def look(obj: Obj) -> bool:
        conditions = (obj.get("status") or {}).get("conditions") or ()
        return any(c["type"] in types and c["status"] == "True" for c in conditions)

    return look


def ended(platform: Platform, wanted: Obj) -> Obj:
    """The last condition of a job that has ended."""
    title = wanted["metadata"]["name"]
    found = platform.until(has("Succeeded", "Failed"), wanted["kind"], title, timeout=180)
    last: Obj = found["status"]["conditions"][-1]
    return last


def test_jobs_end_as_if_the_platform_had_not_been_killed(platform: Platform) -> None:
    jobs = [
        job(kind, f"survivor-{kind.name.lower()}", {kind.replica_types[0]: 1})
        for kind in KINDS
        if kind is not MPI
    ]
    jobs.append(job(TENSORFLOW, "many", {"Worker": 3}))
    jobs[-1]["spec"]["successPolicy"] = "AllWorkers"
    apply(platform, *jobs)
    moments = random.Random(SEED)
    for _ in range(KILLS):
        time.sleep(moments.random())
        platform.kill()
        platform.start()
    assert [ended(platform, each)["type"] for each in jobs] == ["Succeeded"] * len(jobs)
    lines = Counter((platform.workspace / "lines").read_text().split("\n")[:-1])
    assert set(lines.values()) == {1}
    assert len(lines) == 2 * 8


@pytest.mark.skipif(
    shutil.which("mpirun") is None, reason="Open MPI is not installed (apt install openmpi-bin)"
)
def test_mpi_goes_on_while_the_platform_is_away(platform: Platform) -> None:
    parallel = job(MPI, "mpi", {"Launcher": 1, "Worker": 1}, cleanPodPolicy="Running")
    replicas = parallel["spec"]["mpiReplicaSpecs"]
    waits = "echo began; touch mpi; until [ -e back ]; do sleep 0.1; done; echo done"
    program = ["mpirun", "-np", "1", "sh", "-c", waits]
    for role, command in (("Launcher", program), ("Worker", None)):
        container = {"name": "mpi", "image": "debian"}
        replicas[role]["template"]["spec"]["containers"] = [
            {**container, "command": command} if command else container
        ]
    apply(platform, parallel)
    deadline = time.monotonic() + 120
    while not (platform.workspace / "mpi").exists():
        assert time.monotonic() < deadline, "mpirun did not start the program"
        time.sleep(0.05)
    platform.kill()
    platform.start()
    (platform.workspace / "back").touch()
    assert ended(platform, parallel)["type"] == "Succeeded"
    said = platform.kubectl("logs", "mpi-launcher").splitlines()
    assert (said[0], said[-1]) == ("began", "done")


def test_a_replica_that_a_signal_ended_is_restarted_and_no_other(platform: Platform) -> None:
    script = (
        "echo $HOSTNAME >>starts; [ $HOSTNAME != signal-worker-0 ] || [ -e again ] || "
        "{ touch again; exit 137; }; while ! [ -e again ]; do sleep 0.1; done"
    )
    hurt = job(XGBOOST, "signal", {"Master": 1, "Worker": 1}, script)
    for role in hurt["spec"]["xgbReplicaSpecs"].values():
        role["restartPolicy"] = "ExitCode"
    waits = "echo $HOSTNAME >>starts; until [ $(grep -c worker-0 starts) = 2 ]; do sleep 0.1; done"
    master = hurt["spec"]["xgbReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]
    master["command"] = ["sh", "-c", waits]
    apply(platform, hurt)
    assert ended(platform, hurt)["type"] == "Succeeded"
    starts = Counter((platform.workspace / "starts").read_text().split())
    assert starts == {"signal-master-0": 1, "signal-worker-0": 2}
    status = platform.object("xgboostjob", "signal")["status"]
    assert status["replicaStatuses"]["Worker"]["restarts"] == 1


def test_a_replica_that_somebody_deletes_comes_back(platform: Platform) -> None:
    script = "echo x >>lives; while [ $(grep -c x lives) != 2 ]; do sleep 0.1; done"
    lonely = job(JAX, "lonely", {"Worker": 1}, script)
    apply(platform, lonely)
    platform.until(has("Running"), "jaxjob", "lonely")
    platform.kubectl("delete", "pod", "lonely-worker-0", "--grace-period=0", "--force")
    assert ended(platform, lonely)["type"] == "Succeeded"


def test_a_replica_that_hangs_ends_with_the_deadline(platform: Platform) -> None:
    hangs = job(
        PYTORCH, "hangs", {"Worker": 2}, "sleep 600", activeDeadlineSeconds=1, cleanPodPolicy="All"
    )
    apply(platform, hangs)
    last = ended(platform, hangs)
    assert last["type"] == "Failed"
    assert "active longer than specified deadline" in last["message"]
    selector = ("-l", "training.kubeflow.org/job-name=hangs")
    platform.kubectl("wait", "pods", *selector, "--for=delete", "--timeout=60s")
    assert platform.kubectl("get", "pods,services", *selector, "-o", "name") == ""


def test_a_replica_that_crashes_again_and_again_ends_the_job(platform: Platform) -> None:
    crashes = job(TENSORFLOW, "crashes", {"Worker": 1}, "exit 130", backoffLimit=2)
    crashes["spec"]["tfReplicaSpecs"]["Worker"]["restartPolicy"] = "ExitCode"
    apply(platform, crashes)
    last = ended(platform, crashes)
    assert last["type"] == "Failed"
    assert "backoff limit" in last["message"]


def test_a_job_that_does_not_fit_starts_nothing_and_says_why(platform: Platform) -> None:
    large = job(TENSORFLOW, "large", {"Worker": 2})
    container = large["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    node = json.loads(platform.kubectl("get", "nodes", "-o", "json"))["items"][0]
    container["resources"] = {"requests": {"cpu": node["status"]["allocatable"]["cpu"]}}
    apply(platform, large)
    told = platform.until(lambda found: "together" in json.dumps(found), "tfjob", "large")
    message = told["status"]["conditions"][0]["message"]
    assert 'pod group "large" starts with 2 pods together, and 1 fit: ' in message
    assert "Insufficient cpu" in message
    assert "Insufficient cpu" in platform.kubeling("why", "tfjob", "large", check=False).stdout
    pods = json.loads(platform.kubectl("get", "pods", "-o", "json"))["items"]
    phases = [p["status"]["phase"] for p in pods if p["metadata"]["name"].startswith("large")]
    assert phases == ["Pending", "Pending"]
    platform.kubectl("delete", "tfjob", "large")
