"""The training examples, applied as they are: the processes really work together."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples" / "training"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("training") / "workspace"
    shutil.copytree(EXAMPLES, workspace)
    with started(tmp_path_factory.mktemp("data") / "d", workspace) as running:
        yield running


def ended(obj: dict) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ends = ("Succeeded", "Complete", "Failed")
    return any(c["type"] in ends and c["status"] == "True" for c in conditions)


def run(platform: Platform, manifest: str, kind: str, name: str) -> None:
    """Applies an example and waits until it has succeeded."""
    platform.kubectl("apply", "-f", str(EXAMPLES / manifest))
    job = platform.until(ended, kind, name)
    assert job["status"]["conditions"][-1]["type"] in ("Succeeded", "Complete"), job["status"]


def log(platform: Platform, pod: str) -> str:
    return platform.kubectl("logs", pod)


def test_the_replicas_of_an_xgboost_job_train_one_model(platform: Platform) -> None:
    run(platform, "xgboostjob.yaml", "xgboostjob", "breast-cancer")
    logs = [log(platform, f"breast-cancer-{pod}") for pod in ("master-0", "worker-0", "worker-1")]
    assert [re.findall(r"rank \d of 3", text) for text in logs] == [
        [f"rank {rank} of 3"] for rank in range(3)
    ]
    models = {found for text in logs for found in re.findall(r"model=(\w+)", text)}
    assert len(models) == 1
    (accuracy,) = re.findall(r"accuracy=([\d.]+)", logs[0])
    assert float(accuracy) > 0.9


def test_the_nodes_of_a_train_job_train_one_model(platform: Platform) -> None:
    run(platform, "trainjob.yaml", "trainjob", "breast-cancer-trainjob")
    selector = "jobset.sigs.k8s.io/jobset-name=breast-cancer-trainjob"
    pods = json.loads(platform.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    assert len(pods) == 3
    logs = [log(platform, pod["metadata"]["name"]) for pod in pods]
    assert len({found for text in logs for found in re.findall(r"model=(\w+)", text)}) == 1


def test_a_train_job_goes_on_from_its_checkpoint(platform: Platform) -> None:
    run(platform, "trainjob-resuming.yaml", "trainjob", "resuming")
    assert platform.object("jobset", "resuming")["status"]["restarts"] == 1
    progress = platform.object("trainjob", "resuming")["status"]["trainerStatus"]
    assert progress["progressPercentage"] == 100
    said = platform.kubectl("logs", "-l", "jobset.sigs.k8s.io/jobset-name=resuming")
    assert "starting after epoch 5" in said


def test_an_optimization_job_searches_over_train_jobs(platform: Platform) -> None:
    run(platform, "optimizationjob.yaml", "optimizationjob", "parabola")
    (best,) = platform.object("optimizationjob", "parabola")["status"]["result"]["parameters"]
    assert abs(float(best["value"]) - 0.5) < 1.0


def test_tensorflow_workers_find_the_cluster(platform: Platform) -> None:
    run(platform, "tfjob.yaml", "tfjob", "tf-config")
    for index in range(4):
        said = log(platform, f"tf-config-worker-{index}")
        host = f"tf-config-worker-{index}.default.svc:2222"
        assert said.strip() == f"worker {index} of 4 at {host}"


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed (pip install torch)"
)
def test_pytorch_processes_reduce_a_tensor_together(platform: Platform) -> None:
    run(platform, "pytorchjob.yaml", "pytorchjob", "all-reduce")
    assert "rank 0 of 2: sum=3" in log(platform, "all-reduce-master-0")
    assert "rank 1 of 2: sum=3" in log(platform, "all-reduce-worker-0")


def test_workers_without_their_gpus_wait_and_say_for_what(platform: Platform) -> None:
    platform.kubectl("apply", "-f", "-", stdin=GPU_JOB)
    job = platform.until(lambda job: "4 of 4 pods wait" in json.dumps(job), "tfjob", "distributed")
    message = job["status"]["conditions"][0]["message"]
    assert "4 of 4 pods wait: Unschedulable" in message
    platform.kubectl("delete", "tfjob", "distributed")


GPU_JOB = """
apiVersion: kubeflow.org/v1
kind: TFJob
metadata:
  name: distributed
spec:
  tfReplicaSpecs:
    Worker:
      replicas: 4
      template:
        spec:
          containers:
          - image: tensorflow/tensorflow:latest
            command: [python, train.py]
            resources:
              limits:
                nvidia.com/gpu: 1
"""
