"""The tuning examples, every collector and trials of several kinds, on a running platform."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
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


WRITE = """\
import sys
open("/logs/metrics", "a").write(sys.argv[1] + "\\n")
"""
EVENTS = """\
import struct
value = b"\\x0a\\x04loss\\x15" + struct.pack("<f", 0.5)
event = b"\\x2a" + bytes([len(value) + 2]) + b"\\x0a" + bytes([len(value)]) + value
record = struct.pack("<Q4x", len(event)) + event + bytes(4)
open("/logs/events.out.tfevents.1", "wb").write(record)
"""
EXPOSE = """\
import http.server, threading
asked = threading.Event()
class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"# TYPE loss gauge\\nloss 0.5\\n")
        asked.set()
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Metrics)
threading.Thread(target=server.serve_forever, daemon=True).start()
asked.wait(60)
"""
FILE = {"path": "/logs/metrics", "kind": "File"}
OWN = "until [ -s /logs/metrics ]; do sleep 0.1; done; cat /logs/metrics"
COLLECTORS: dict[str, tuple[list[str], dict]] = {
    "file-text": ([WRITE, "loss=0.5"], {"fileSystemPath": FILE}),
    "file-json": ([WRITE, '{"loss": 0.5}'], {"fileSystemPath": {**FILE, "format": "JSON"}}),
    "tensorflowevent": ([EVENTS], {"fileSystemPath": {"path": "/logs", "kind": "Directory"}}),
    "prometheusmetric": ([EXPOSE], {"httpGet": {"path": "/metrics"}}),
    "custom": ([WRITE, "loss=0.5"], {"fileSystemPath": FILE}),
}
KINDS = {
    "file": "File",
    "tensorflowevent": "TensorFlowEvent",
    "prometheusmetric": "PrometheusMetric",
    "custom": "Custom",
}


@pytest.mark.parametrize("name", COLLECTORS)
def test_metrics_are_found_wherever_they_are(platform: Platform, tmp_path: Path, name: str) -> None:
    (script, *arguments), source = COLLECTORS[name]
    container = _container("train", f"assert ${{trialParameters.lr}}\n{script}", *arguments)
    pod = {"restartPolicy": "Never", "containers": [container]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}
    experiment = _experiment(name, job, "train")
    experiment["spec"] |= {"maxTrialCount": 1, "parallelTrialCount": 1}
    collector: dict = {"kind": KINDS[name.partition("-")[0]]}
    if collector["kind"] == "Custom":
        own = {"name": "own", "image": "busybox", "command": ["sh", "-c", OWN]}
        collector["customCollector"] = own
    experiment["spec"]["metricsCollectorSpec"] = {"collector": collector, "source": source}
    assert _latest(finished(platform, _written(tmp_path, experiment), name)) == 0.5


@pytest.mark.parametrize("kind", ["TrainJob", "Workflow"])
def test_pods_of_other_templates_get_the_collector_too(
    platform: Platform, tmp_path: Path, kind: str
) -> None:
    script = f"assert ${{trialParameters.lr}}\n{WRITE}"
    if kind == "TrainJob":
        container = _container("node", script, "loss=0.5")
        trainer = {key: container[key] for key in ("image", "command")}
        runtime = {"name": "xgboost-distributed"}
        body = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": kind}
        body["spec"] = {"runtimeRef": runtime, "trainer": trainer}
    else:
        container = _container("main", script, "loss=0.5")
        templates = [{"name": "train", "container": container}]
        body = {"apiVersion": "argoproj.io/v1alpha1", "kind": kind}
        body["spec"] = {"entrypoint": "train", "templates": templates}
    name = f"file-{kind.lower()}"
    experiment = _experiment(name, body, container["name"])
    experiment["spec"] |= {"maxTrialCount": 1, "parallelTrialCount": 1}
    experiment["spec"]["metricsCollectorSpec"] = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": FILE},
    }
    assert _latest(finished(platform, _written(tmp_path, experiment), name)) == 0.5


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


def _container(name: str, script: str, *arguments: str) -> dict:
    command = ["python", "-c", script, *arguments]
    return {"name": name, "image": "python:3.11", "command": command}


def _written(folder: Path, experiment: dict) -> Path:
    manifest = folder / "experiment.json"
    manifest.write_text(json.dumps(experiment))
    return manifest


def _latest(experiment: dict) -> float:
    (metric,) = experiment["status"]["currentOptimalTrial"]["observation"]["metrics"]
    return float(metric["latest"])
