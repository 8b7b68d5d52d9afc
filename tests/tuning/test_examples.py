"""The tuning examples and the Katib client against a running platform."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples" / "tuning"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("tuning") / "workspace"
    shutil.copytree(EXAMPLES, workspace)
    with started(tmp_path_factory.mktemp("data") / "d", workspace) as running:
        yield running


def ended(obj: dict) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ends = ("Succeeded", "Failed")
    return any(c["type"] in ends and c["status"] == "True" for c in conditions)


def finished(platform: Platform, manifest: Path, name: str) -> dict:
    platform.kubectl("apply", "-f", str(manifest))
    found = platform.until(ended, "experiment", name, timeout=300)
    assert found["status"]["conditions"][-1]["type"] == "Succeeded", found["status"]
    return found


def test_a_scikit_learn_model_is_tuned_by_jobs_in_parallel(platform: Platform) -> None:
    found = finished(platform, EXAMPLES / "experiment-digits.yaml", "digits")
    assert found["status"]["trialsSucceeded"] == 8
    best = found["status"]["currentOptimalTrial"]
    assert float(best["observation"]["metrics"][0]["max"]) > 0.85


def test_the_smallest_experiment_works(platform: Platform) -> None:
    found = finished(platform, EXAMPLES / "hyperparameter-tuning.yaml", "hyperparameter-tuning")
    assert found["status"]["trials"] == 4


@pytest.mark.parametrize("form", ["TEXT", "JSON"])
def test_metrics_may_be_written_to_a_file(platform: Platform, tmp_path: Path, form: str) -> None:
    line = {"TEXT": "loss=0.5", "JSON": json.dumps({"loss": 0.5})}[form]
    name = f"file-{form.lower()}"
    manifest = tmp_path / "experiment.json"
    manifest.write_text(json.dumps(_file_experiment(name, form, line)))
    found = finished(platform, manifest, name)
    metric = found["status"]["currentOptimalTrial"]["observation"]["metrics"][0]
    assert metric["latest"] == "0.5"


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "container"),
    [
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            lambda pod: {"pytorchReplicaSpecs": {"Master": {"template": pod}}},
            "pytorch",
        ),
        (
            "trainer.kubeflow.org/v1alpha1",
            "TrainJob",
            lambda pod: {
                "runtimeRef": {"name": "xgboost-distributed"},
                "trainer": {key: pod["spec"]["containers"][0][key] for key in ("image", "command")},
            },
            "node",
        ),
    ],
)
def test_trials_may_be_training_jobs(
    platform: Platform, tmp_path: Path, api_version: str, kind: str, spec, container: str
) -> None:
    pod = {
        "spec": {
            "containers": [
                {
                    "name": container,
                    "image": "python:3.11",
                    "command": ["python", "-c", "print('loss=${trialParameters.lr}')"],
                }
            ]
        }
    }
    body = {"apiVersion": api_version, "kind": kind, "spec": spec(pod)}
    name = f"with-{kind.lower()}"
    manifest = tmp_path / "experiment.json"
    manifest.write_text(json.dumps(_experiment(name, body, container)))
    assert finished(platform, manifest, name)["status"]["trialsSucceeded"] == 2


KATIB = """
from kubeflow.katib import KatibClient, search
from kubeflow import katib

client = KatibClient(namespace="default")

def objective(parameters):
    import time
    print(f"result={4 * int(parameters['a']) - float(parameters['b']) ** 2}")

client.tune(
    name="from-client", objective=objective, base_image="python:3.11",
    parameters={"a": search.int(min=10, max=20), "b": search.double(min=0.1, max=0.2)},
    objective_metric_name="result", max_trial_count=4, parallel_trial_count=2,
)
client.wait_for_experiment_condition("from-client", polling_interval=2, timeout=120)
assert client.is_experiment_succeeded("from-client")
best = client.get_optimal_hyperparameters("from-client")
print({entry.name for entry in best.parameter_assignments}, best.observation.metrics[0].name)
print(len(client.list_trials("from-client")), "trials")
print(len(client.get_success_trial_details("from-client")), "succeeded")
client.delete_experiment("from-client")
"""


def test_the_katib_client_tunes_a_function(platform: Platform, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(KATIB)
    python = python_with("kubeflow-katib==0.19.0", "kubernetes<34")
    said = platform.run(str(python), str(script), timeout=300).stdout
    assert "result" in said
    assert "4 trials" in said
    assert "4 succeeded" in said


def _experiment(name: str, trial_spec: dict, container: str) -> dict:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "maxTrialCount": 2,
            "parallelTrialCount": 2,
            "parameters": [
                {
                    "name": "lr",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0.01", "max": "0.1"},
                }
            ],
            "trialTemplate": {
                "primaryContainerName": container,
                "trialParameters": [{"name": "lr", "reference": "lr"}],
                "trialSpec": trial_spec,
            },
        },
    }


def _file_experiment(name: str, form: str, line: str) -> dict:
    script = (
        f"import os; assert ${{trialParameters.lr}}; "
        f"open('/var/log/katib/metrics.log', 'w').write({line!r} + chr(10))"
    )
    pod = {
        "restartPolicy": "Never",
        "containers": [
            {"name": "train", "image": "python:3.11", "command": ["python", "-c", script]}
        ],
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}
    found = _experiment(name, job, "train")
    found["spec"]["metricsCollectorSpec"] = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"format": form}},
    }
    return found
