"""The manifests as the user wrote them, applied with the unmodified kubectl."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

SEEDS = Path(__file__).parent / "seeds"
Obj = dict[str, Any]


def seed(name: str) -> str:
    (path,) = SEEDS.glob(f"{name}-*.yaml")
    return str(path)


def phase(obj: Obj) -> str:
    return str((obj.get("status") or {}).get("phase", ""))


def condition(obj: Obj, type: str) -> Obj:
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry["type"] == type:
            return dict(entry)
    return {}


def succeeded(obj: Obj) -> bool:
    assert phase(obj) not in ("Failed", "Error"), obj["status"].get("message")
    return phase(obj) == "Succeeded"


def test_01_a_workflow_runs_the_train_py_of_the_workspace(platform: Platform) -> None:
    platform.kubectl("apply", "-f", seed("01"))
    platform.until(succeeded, "workflow", "ml-pipeline")
    assert "trained" in platform.kubeling("logs", "workflow/ml-pipeline").stdout


def test_02_an_experiment_without_objective_is_refused_field_by_field(platform: Platform) -> None:
    done = platform.run("kubectl", "apply", "-f", seed("02"), check=False)
    assert done.returncode != 0
    assert "spec.objective" in done.stderr
    assert "spec.trialTemplate" in done.stderr


def test_03_a_model_of_the_old_group_says_that_its_bucket_cannot_be_read(
    platform: Platform,
) -> None:
    platform.kubectl("apply", "-f", seed("03"))
    found = platform.until(
        lambda o: "my-bucket" in str(o.get("status")),
        "inferenceservices.serving.kserve.io",
        "my-model",
    )
    assert condition(found, "Ready").get("status") != "True"


def test_04_a_notebook_opens_through_the_gateway(platform: Platform) -> None:
    platform.kubectl("apply", "-f", seed("04"))
    platform.until(
        lambda o: (o.get("status") or {}).get("readyReplicas") == 1, "notebook", "ml-notebook"
    )
    with urllib.request.urlopen(f"{platform.url}/notebook/default/ml-notebook/lab") as page:
        assert page.status == 200
        assert b"JupyterLab" in page.read()
    platform.kubectl("delete", "notebook", "ml-notebook")


def test_06_a_template_runs_by_reference(platform: Platform) -> None:
    platform.kubectl("apply", "-f", seed("06"))
    workflow = """
        apiVersion: argoproj.io/v1alpha1
        kind: Workflow
        metadata: {name: by-reference}
        spec:
          entrypoint: custom-component
          workflowTemplateRef: {name: custom-ml-workflow}
    """
    platform.kubectl("apply", "-f", "-", stdin=workflow)
    platform.until(succeeded, "workflow", "by-reference")
    logs = platform.kubeling("logs", "workflow/by-reference").stdout
    assert "custom component ran" in logs


def test_07_stages_run_in_order_as_one_workflow(platform: Platform) -> None:
    done = platform.kubeling("run", seed("07"))
    assert "succeeded" in done.stdout


def test_08_workers_without_gpus_wait_and_say_for_what(platform: Platform) -> None:
    platform.kubectl("apply", "-f", seed("08"))
    for index in range(4):
        pod = platform.until(
            lambda o: "nvidia.com/gpu" in condition(o, "PodScheduled").get("message", ""),
            "pod",
            f"distributed-training-worker-{index}",
        )
        assert phase(pod) == "Pending"
        assert pod["spec"]["containers"][0]["name"] == "tensorflow"
        assert "TF_CONFIG" in {e["name"] for e in pod["spec"]["containers"][0]["env"]}
    why = platform.kubeling("why", "tfjob/distributed-training").stdout
    assert "Insufficient nvidia.com/gpu" in why
    platform.kubectl("delete", "tfjob", "distributed-training")


@pytest.mark.parametrize("number", ["09", "10"])
def test_other_services_of_the_old_group_are_accepted(platform: Platform, number: str) -> None:
    platform.kubectl("apply", "-f", seed(number))
    name = {"09": "ab-test", "10": "monitored-model"}[number]
    platform.until(
        lambda o: bool(condition(o, "PredictorReady")),
        "inferenceservices.serving.kubeflow.org",
        name,
    )
    platform.kubectl("delete", "-f", seed(number))


def test_05_an_autoscaler_keeps_a_model_between_two_and_ten(platform: Platform) -> None:
    platform.kubectl("apply", "-f", seed("05"))
    platform.until(
        lambda o: o["spec"]["predictor"].get("minReplicas") == 2,
        "inferenceservices.serving.kubeflow.org",
        "my-model",
    )
    platform.kubectl("delete", "-f", seed("05"))
    platform.kubectl("delete", "-f", seed("03"))
