"""The unmodified kubeflow SDK: TrainerClient and OptimizerClient, every method."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

DRIVER = Path(__file__).parent / "trainer_driver.py"
SDK = ("kubeflow==0.5.0",)

PLAIN = """
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainingRuntime
metadata:
  name: plain
  labels: {trainer.kubeflow.org/framework: plain}
spec:
  mlPolicy: {numNodes: 1}
  template:
    spec:
      replicatedJobs:
        - name: node
          template:
            metadata:
              labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}
            spec:
              backoffLimit: 0
              template:
                spec:
                  restartPolicy: Never
                  containers: [{name: node, image: "python:3.11"}]
"""
IMAGES = """
- images: [with-sdk]
  python: {requirements: ["kubeflow==0.5.0"]}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("client") / "workspace"
    workspace.mkdir()
    (workspace / "images.yaml").write_text(IMAGES)
    with started(tmp_path_factory.mktemp("data") / "d", workspace) as running:
        running.kubectl("apply", "-f", "-", stdin=PLAIN)
        yield running


@pytest.fixture(scope="module")
def found(platform: Platform) -> dict[str, Any]:
    """What the driver found, case by case, and what the SDK said meanwhile."""
    done = platform.run(str(python_with(*SDK)), str(DRIVER), timeout=500)
    cases: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    failed = {name: case["error"] for name, case in cases.items() if "error" in case}
    assert not failed, done.stderr
    return {**cases, "printed": done.stdout, "warned": done.stderr}


def test_runtimes_say_what_they_start_training_with(found: dict[str, Any]) -> None:
    case = found["runtimes"]
    assert case["names"] == [
        "deepspeed-distributed",
        "jax-distributed",
        "mlx-distributed",
        "plain",
        "torch-distributed",
        "torchtune-llama3.2-1b",
        "torchtune-llama3.2-3b",
        "torchtune-qwen2.5-1.5b",
        "xgboost-distributed",
    ]
    assert case["trainers"]["torchtune-llama3.2-1b"] == "BuiltinTrainer"
    assert case["commands"]["torch-distributed"][0] == "bash"
    assert case["commands"]["deepspeed-distributed"][0] == "mpirun"
    assert case["torch"] == ["ClusterTrainingRuntime", "torch"]
    assert "Python: 3.11" in found["printed"]
    assert "version info is not available" not in found["warned"]


def test_a_function_trains_on_every_node(found: dict[str, Any]) -> None:
    case = found["functions"]
    assert case["name"] == "named"
    assert case["status"] == "Complete"
    assert [step[0] for step in case["steps"]] == ["node-0", "node-1"]
    assert case["steps"][0][1:] == ["Succeeded", "cpu", "1"]
    assert case["nodes"] == 2
    assert case["followed"] == case["logs"] == ["trained on node x of 2"]
    assert "TrainJob JobSetCreated" in case["events"]
    assert "TrainJob AllJobsCompleted" in case["events"]
    assert "JobSet AllJobsCompleted" in case["events"]
    assert any(event.startswith("Pod ") for event in case["events"])
    assert case["listed"]
    assert case["deleted"]


def test_options_reach_the_pods(platform: Platform, found: dict[str, Any]) -> None:
    case = found["options"]
    assert case["status"] == "Running"
    assert case["first"] == "said"
    selector = f"jobset.sigs.k8s.io/jobset-name={case['name']},zone=b"
    assert platform.kubectl("get", "pods", "-l", selector, "-o", "name").strip()
    job = platform.object("trainjob", case["name"])
    assert job["spec"]["activeDeadlineSeconds"] == 600
    assert job["spec"]["runtimePatches"][0]["manager"] == "trainer.kubeflow.org/kubeflow-sdk"
    platform.kubectl("delete", "trainjob", case["name"])


def test_a_container_trains(found: dict[str, Any]) -> None:
    case = found["containers"]
    assert (case["status"], case["nodes"]) == ("Complete", 2)


def test_a_built_in_trainer_becomes_torchtunes_command(
    platform: Platform, found: dict[str, Any]
) -> None:
    name = found["builtin"]["name"]
    jobset = platform.until(lambda _: True, "jobset", name)
    data, model, node = jobset["spec"]["replicatedJobs"]
    for job in (data, model):
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        sources = [e["value"] for e in container["env"] if e["name"] == "STORAGE_URI"]
        assert sources == [f"hf://team/{'rows' if job is data else 'net'}"]
    command = node["template"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[:3] == ["tune", "run", "full_finetune_single_device"]
    assert "llama3_2/1B_full_single_device" in command
    platform.kubectl("delete", "trainjob", name)


def test_training_reports_its_progress(platform: Platform, found: dict[str, Any]) -> None:
    case = found["progress"]
    assert case["logs"] == ["sent=True"]
    status = platform.object("trainjob", case["name"])["status"]["trainerStatus"]
    assert status["progressPercentage"] == 42
    assert status["metrics"] == [{"name": "loss", "value": "0.123"}]


def test_optimizing_finds_the_best_trial(found: dict[str, Any]) -> None:
    case = found["optimizing"]
    assert case["status"] == "Complete"
    assert case["trials"] == 4
    assert case["best"] == {"lr": "0.5", "units": "2"}
    ((metric, value),) = case["metrics"]
    assert (metric, float(value)) == ("score", 1.0)
    assert case["logs"] == ["score=1.000"]
    assert set(case["events"]) <= {"Experiment", "Trial"}
    assert case["listed"]
    assert case["deleted"]
