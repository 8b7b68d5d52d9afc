"""Pods that a trial's object does not hold get their collector when they are admitted."""

from __future__ import annotations

from pathlib import Path

from tests.support.apiserver import running_server
from tests.tuning.test_trial_ends import trial

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import PODS
from kubeling.kube.webhooks import webhook_configurations
from kubeling.tuning.admission import admissions
from kubeling.tuning.component import COMPONENT
from kubeling.tuning.instrumentation import TRIAL_LABEL, instrumented


def workflow(collector: str, **labels: str) -> Obj:
    """A trial that is a Workflow, and the metadata its pods get."""
    template = {"name": "main", "container": {"image": "python:3.11"}}
    run = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "a", "namespace": "team"},
        "spec": {"entrypoint": "main", "templates": [template]},
    }
    where = {"path": "/logs/metrics.log", "kind": "File", "format": "TEXT"}
    spec = {"collector": {"kind": collector}, "source": {"fileSystemPath": where}}
    of = trial(
        runSpec=run,
        metricsCollector=spec,
        primaryContainerName="main",
        primaryPodLabels=labels or None,
    )
    return instrumented(of)["spec"]["podMetadata"]


def pod(metadata: Obj, **labels: str) -> Obj:
    found = deep_copy(metadata)
    found["labels"] |= labels
    containers = [{"name": "main", "image": "python:3.11", "command": ["train"]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**found, "name": "a-1", "namespace": "default"},
        "spec": {"containers": containers, "restartPolicy": "Never"},
    }


def admitted(obj: Obj) -> Obj:
    default = admissions()[PODS].default
    assert default is not None
    default(obj, AdmissionRequest(PODS, "CREATE"))
    return obj


def test_a_file_is_printed_by_a_sidecar_that_shares_its_folder() -> None:
    spec = admitted(pod(workflow("File")))["spec"]
    (sidecar,) = spec["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("metrics-logger-and-collector", "Always")
    assert sidecar["volumeMounts"] == spec["containers"][0]["volumeMounts"]
    assert spec["volumes"][0]["emptyDir"] == {}
    assert admitted({"metadata": {}, "spec": deep_copy(spec)})["spec"] == spec


def test_only_the_pods_that_count_get_one() -> None:
    metadata = workflow("File", role="train")
    assert "initContainers" not in admitted(pod(metadata))["spec"]
    assert "initContainers" in admitted(pod(metadata, role="train"))["spec"]


def test_a_log_needs_none() -> None:
    assert "initContainers" not in admitted(pod(workflow("StdOut")))["spec"]


async def test_the_api_server_admits_the_pod_with_it(tmp_path: Path) -> None:
    async with running_server(COMPONENT, data_dir=tmp_path) as running:
        made = await running.client.create(PODS, pod(workflow("TensorFlowEvent")))
        (sidecar,) = made["spec"]["initContainers"]
        assert sidecar["name"] == "metrics-collector"
        assert sidecar["terminationMessagePolicy"] == "File"


def test_a_cluster_asks_about_pods_of_trials_only() -> None:
    (_, mutating), _ = webhook_configurations(admissions(), "https://here", "authority")
    asked = {
        rule["resources"][0]: hook.get("objectSelector")
        for hook in mutating["webhooks"]
        for rule in hook["rules"]
    }
    having = {"matchExpressions": [{"key": TRIAL_LABEL, "operator": "Exists"}]}
    assert asked == {"experiments": None, "pods": having}
