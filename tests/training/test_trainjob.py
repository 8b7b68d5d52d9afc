"""A TrainJob and its runtime become Jobs; the Jobs' state becomes the TrainJob's."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, deep_copy
from kubeling.training.trainer.admission import admissions
from kubeling.training.trainer.environment import UnsupportedPolicyError
from kubeling.training.trainer.render import job_objects, replicated_jobs, service_object
from kubeling.training.trainer.resources import TRAIN_JOBS
from kubeling.training.trainer.runtimes import builtin_runtimes
from kubeling.training.trainer.status import has_ended, status_of

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RUNTIMES = {runtime["metadata"]["name"]: runtime["spec"] for runtime in builtin_runtimes()}


def train_job(runtime: str = "torch-distributed", **spec: Any) -> Obj:
    obj = {
        "apiVersion": TRAIN_JOBS.api_version,
        "kind": TRAIN_JOBS.kind,
        "metadata": {
            "name": "mnist",
            "namespace": "team",
            "uid": "job-uid",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"runtimeRef": {"name": runtime}, **spec},
    }
    assert admitted(obj) == []
    return obj


def admitted(obj: Obj, old: Obj | None = None) -> list[str]:
    admission = admissions()[TRAIN_JOBS]
    request = AdmissionRequest(TRAIN_JOBS, "UPDATE" if old else "CREATE")
    assert admission.default
    assert admission.validate
    admission.default(obj, request)
    return [str(error) for error in admission.validate(obj, old, request)]


def rendered(obj: Obj) -> Obj:
    runtime = RUNTIMES[obj["spec"]["runtimeRef"]["name"]]
    ((_, job),) = job_objects(obj, replicated_jobs(obj, runtime))
    return job


def container(job: Obj) -> Obj:
    found: Obj = job["spec"]["template"]["spec"]["containers"][0]
    return found


def environment(job: Obj) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container(job)["env"]}


def ended(job: Obj, condition: str, message: str = "") -> Obj:
    entry = {"type": condition, "status": "True", "message": message}
    return {**job, "status": {"conditions": [entry]}}


def test_nodes_become_an_indexed_job_with_the_labels_of_a_jobset() -> None:
    job = rendered(train_job(trainer={"numNodes": 2, "command": ["python", "train.py"]}))
    assert job["metadata"]["name"] == "mnist-node-0"
    assert job["spec"]["completionMode"] == "Indexed"
    assert (job["spec"]["parallelism"], job["spec"]["completions"]) == (2, 2)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["jobset.sigs.k8s.io/jobset-name"] == "mnist"
    assert labels["jobset.sigs.k8s.io/replicatedjob-name"] == "node"
    assert container(job)["name"] == "node"
    assert container(job)["command"] == ["python", "train.py"]


def test_hosts_are_found_through_a_headless_service_of_the_jobs_name() -> None:
    obj = train_job()
    service = service_object(obj)
    assert service["metadata"]["name"] == "mnist"
    assert service["spec"]["clusterIP"] == "None"
    assert rendered(obj)["spec"]["template"]["spec"]["subdomain"] == "mnist"


def test_torch_nodes_meet_at_node_0() -> None:
    found = environment(rendered(train_job(trainer={"numNodes": 2, "numProcPerNode": 3})))
    assert found["PET_NNODES"] == "2"
    assert found["PET_NPROC_PER_NODE"] == "3"
    assert found["PET_MASTER_ADDR"] == "mnist-node-0-0.mnist"
    assert found["PET_MASTER_PORT"] == "29500"
    field = found["PET_NODE_RANK"]["fieldRef"]["fieldPath"]
    assert field == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


@pytest.mark.parametrize(
    ("resources", "processes"),
    [
        ({}, "1"),
        ({"limits": {"cpu": "4"}}, "4"),
        ({"limits": {"cpu": "500m"}}, "1"),
        ({"limits": {"cpu": "4", "nvidia.com/gpu": 2}}, "2"),
    ],
)
def test_auto_is_one_process_per_accelerator_or_cpu(resources: Obj, processes: str) -> None:
    job = rendered(train_job(trainer={"resourcesPerNode": resources}))
    assert environment(job)["PET_NPROC_PER_NODE"] == processes


def test_jax_and_xgboost_get_their_own_variables() -> None:
    jax = environment(rendered(train_job("jax-distributed", trainer={"numNodes": 2})))
    assert jax["JAX_COORDINATOR_ADDRESS"] == "mnist-node-0-0.mnist:29500"
    assert jax["JAX_NUM_PROCESSES"] == "2"
    boost = environment(rendered(train_job("xgboost-distributed", trainer={"numNodes": 2})))
    assert boost["DMLC_TRACKER_URI"] == "mnist-node-0-0.mnist"
    assert boost["DMLC_NUM_WORKER"] == "2"


def test_a_runtime_without_a_supported_policy_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedPolicyError, match=r"mlPolicy\.mpi is not supported"):
        replicated_jobs(train_job(), {**RUNTIMES["torch-distributed"], "mlPolicy": {"mpi": {}}})


def test_patches_merge_into_the_runtime_before_the_trainers_own_wishes() -> None:
    pod = {
        "metadata": {"labels": {"team": "vision"}},
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "containers": [{"name": "node", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}],
        },
    }
    replicated = {"name": "node", "template": {"spec": {"template": pod}}}
    patch = {
        "manager": "example.com/me",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}},
    }
    job = rendered(train_job(runtimePatches=[patch], trainer={"image": "mine"}))
    template = job["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "vision"
    assert template["spec"]["nodeSelector"] == {"disk": "fast"}
    assert container(job)["image"] == "mine"
    assert container(job)["volumeMounts"] == [{"name": "d", "mountPath": "/d"}]


def test_initializers_run_before_the_trainer() -> None:
    node = deep_copy(RUNTIMES["torch-distributed"]["template"]["spec"]["replicatedJobs"][0])
    node["dependsOn"] = [{"name": "dataset-initializer", "status": "Complete"}]
    step = {"trainer.kubeflow.org/trainjob-ancestor-step": "dataset-initializer"}
    fetch = {
        "name": "dataset-initializer",
        "template": {
            "metadata": {"labels": step},
            "spec": {
                "template": {
                    "spec": {"containers": [{"name": "dataset-initializer", "image": "fetch"}]}
                }
            },
        },
    }
    runtime = {
        **RUNTIMES["torch-distributed"],
        "template": {"spec": {"replicatedJobs": [fetch, node]}},
    }
    obj = train_job(initializer={"dataset": {"storageUri": "s3://data"}})
    first, second = replicated_jobs(obj, runtime)
    assert second.depends_on == ("dataset-initializer",)
    env = first.spec["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "STORAGE_URI", "value": "s3://data"}]


def test_there_is_no_condition_before_the_end() -> None:
    obj = train_job()
    status = status_of(obj, {"node": 1}, [rendered(obj)], NOW)
    assert "conditions" not in status
    assert [entry["name"] for entry in status["jobsStatus"]] == ["node"]


@pytest.mark.parametrize(("job", "train"), [("Complete", "Complete"), ("Failed", "Failed")])
def test_the_end_of_the_jobs_is_the_end_of_the_train_job(job: str, train: str) -> None:
    obj = train_job()
    status = status_of(obj, {"node": 1}, [ended(rendered(obj), job, "exit code 1")], NOW)
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == (train, "True")
    assert has_ended({**obj, "status": status})
    if train == "Failed":
        assert "job mnist-node-0 failed: exit code 1" in condition["message"]


def test_a_deadline_counts_from_the_start() -> None:
    obj = train_job(activeDeadlineSeconds=60)
    jobs = [rendered(obj)]
    assert "conditions" not in status_of(obj, {"node": 1}, jobs, NOW)
    late = status_of(obj, {"node": 1}, jobs, NOW + dt.timedelta(seconds=60))
    assert late["conditions"][0]["reason"] == "DeadlineExceeded"


def test_suspending_shows_and_resuming_too() -> None:
    obj = train_job(suspend=True)
    assert rendered(obj)["spec"]["suspend"] is True
    status = status_of(obj, {"node": 1}, [rendered(obj)], NOW)
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Suspended", "True")]
    obj["spec"]["suspend"] = False
    resumed = status_of({**obj, "status": status}, {"node": 1}, [rendered(obj)], NOW)
    assert [(c["type"], c["status"]) for c in resumed["conditions"]] == [("Suspended", "False")]


def test_mistakes_are_named_with_their_field() -> None:
    obj = train_job()
    obj["spec"]["trainer"] = {"env": [{"name": "PET_NNODES", "value": "9"}]}
    (error,) = admitted(obj)
    assert error.startswith("spec.trainer.env[0].name: Forbidden")
    nameless = {**train_job(), "spec": {"runtimeRef": {}}}
    assert admitted(nameless)[0].startswith("spec.runtimeRef.name: Required value")
    changed = deep_copy(train_job())
    changed["spec"]["trainer"] = {"image": "other"}
    assert admitted(changed, train_job()) == ["spec.trainer: Forbidden: the field is immutable"]
