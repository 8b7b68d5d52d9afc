"""Processes of a job that really train together: the result is that of one process alone."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests.support.platform import Platform, started

from kubeling.kube import yaml

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples" / "training"
PROGRAMS = Path(__file__).parent / "programs"
with_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed (pip install torch)"
)
with_mpi = pytest.mark.skipif(
    shutil.which("mpirun") is None, reason="Open MPI is not installed (apt install openmpi-bin)"
)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("training") / "workspace"
    shutil.copytree(EXAMPLES, workspace)
    shutil.copytree(PROGRAMS, workspace, dirs_exist_ok=True)
    with started(tmp_path_factory.mktemp("data") / "d", workspace) as running:
        yield running


def example(name: str) -> dict[str, Any]:
    """An example's manifest."""
    found = yaml.load((EXAMPLES / name).read_text())
    assert isinstance(found, dict)
    return found


def apply(platform: Platform, job: dict[str, Any]) -> None:
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(job))


def succeeded(platform: Platform, *jobs: dict[str, Any]) -> None:
    """Applies jobs and waits for their ends, which are to be good ones."""
    for job in jobs:
        apply(platform, job)
    for job in jobs:
        found = platform.until(
            has("Succeeded", "Failed"), job["kind"], job["metadata"]["name"], timeout=240
        )
        last = found["status"]["conditions"][-1]
        assert last["type"] == "Succeeded", logs(platform, job["metadata"]["name"])


def logs(platform: Platform, name: str) -> str:
    label = f"training.kubeflow.org/job-name={name}"
    return platform.kubectl("logs", "--all-containers", "--tail=40", "-l", label, check=False)


def has(*types: str) -> Callable[[dict[str, Any]], bool]:
    """Whether one of the conditions is there."""

    def look(obj: dict[str, Any]) -> bool:
        conditions = (obj.get("status") or {}).get("conditions") or ()
        return any(c["type"] in types for c in conditions)

    return look


def alone(job: dict[str, Any], replicas: str) -> dict[str, Any]:
    """The same job without its workers."""
    del job["spec"][replicas]["Worker"]
    job["metadata"]["name"] += "-alone"
    return job


def line(platform: Platform, pod: str, pattern: str) -> re.Match[str]:
    """The first line of a pod's log that matches, once it is there."""
    command = ["kubectl", "logs", "-f", pod]
    log = subprocess.Popen(command, env=platform.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert log.stdout is not None
        for text in log.stdout:
            if found := re.search(pattern, text):
                return found
    finally:
        log.kill()
        log.wait()
    raise AssertionError(f"{pod} ended without saying {pattern}")


@with_torch
def test_data_parallel_pytorch_has_the_loss_of_one_process(platform: Platform) -> None:
    succeeded(platform, example("pytorchjob-ddp.yaml"))
    succeeded(platform, alone(example("pytorchjob-ddp.yaml"), "pytorchReplicaSpecs"))
    two, one = (platform.kubectl("logs", pod) for pod in ("ddp-master-0", "ddp-alone-master-0"))
    assert "epoch=2" in two
    assert "processes=2" in two
    assert two.replace("processes=2", "processes=1") == one


@with_torch
def test_an_elastic_job_grows_and_shrinks_and_goes_on_where_it_was(platform: Platform) -> None:
    job = example("pytorchjob-elastic.yaml")
    workers = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    workers["replicas"] = 1
    container = workers["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "EPOCHS", "value": "100000"}]
    apply(platform, job)
    line(platform, "elastic-worker-0", r"epoch=1 .*processes=1")
    scale = ("scale", "pytorchjob/elastic")
    platform.kubectl(*scale, "--replicas=2")
    grown = line(platform, "elastic-worker-0", r"begins epoch=(\d+) processes=2")
    assert int(grown[1]) > 1
    platform.kubectl(*scale, "--replicas=1")
    shrunk = line(platform, "elastic-worker-0", r"begins epoch=([1-9]\d*) processes=1")
    assert int(shrunk[1]) >= int(grown[1])
    platform.kubectl("delete", "pytorchjob", "elastic")


def test_xgboost_on_shares_of_the_rows_is_as_good_as_on_all(platform: Platform) -> None:
    job = example("xgboostjob.yaml")
    job["metadata"]["name"] = "digits"
    for role in job["spec"]["xgbReplicaSpecs"].values():
        role["template"]["spec"]["containers"][0]["command"] = ["python", "xgboost_digits.py"]
    succeeded(platform, job, alone(deepcopy(job), "xgbReplicaSpecs"))
    pattern = r"processes=(\d) ([\d.]+)"
    three = line(platform, "digits-master-0", pattern)
    one = line(platform, "digits-alone-master-0", pattern)
    assert (three[1], one[1]) == ("3", "1")
    assert float(three[2]) == pytest.approx(float(one[2]), abs=1e-4)


def test_jax_processes_add_up_over_all_their_devices(platform: Platform) -> None:
    succeeded(platform, example("jaxjob.yaml"))
    for index in range(2):
        assert line(platform, f"psum-worker-{index}", f"process {index} of 2: sum=3")


@with_mpi
def test_mpi_starts_its_processes_in_the_pods_of_the_workers(platform: Platform) -> None:
    succeeded(platform, example("mpijob.yaml"))
    said = platform.kubectl("logs", "mpi-allreduce-launcher").split("\n")
    assert sorted(filter(None, said)) == [
        f"rank {rank} of 4 on mpi-allreduce-worker-{rank // 2}: sum=10" for rank in range(4)
    ]
    pods = platform.kubectl("get", "pods", "-l", "training.kubeflow.org/job-name=mpi-allreduce")
    assert "worker" not in pods


@with_mpi
def test_a_program_that_fails_on_a_worker_fails_the_job(platform: Platform) -> None:
    job = example("mpijob.yaml")
    job["metadata"]["name"] = "mpi-fails"
    launcher = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
    launcher["command"] = ["mpirun", "-np", "2", "sh", "-c", "exit 3"]
    apply(platform, job)

    def failed(obj: dict[str, Any]) -> bool:
        conditions = (obj.get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Failed" for c in conditions)

    found = platform.until(failed, "mpijob", "mpi-fails")
    assert (
        "mpi-fails-launcher failed with exit code 3" in found["status"]["conditions"][-1]["message"]
    )
