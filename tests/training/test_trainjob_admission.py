"""What is filled into TrainJobs and runtimes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.training.trainjobs import admitted, patch, runtime, train_job, warned

from kubeling.kube.objects import Obj, deep_copy
from kubeling.training.trainer.resources import CLUSTER_TRAINING_RUNTIMES


def changed(old: Obj, **spec: Any) -> Obj:
    new: Obj = deep_copy(old)
    new["spec"].update(spec)
    return new


def test_what_is_left_out_is_filled_in() -> None:
    spec = train_job()["spec"]
    assert spec["runtimeRef"] == {
        "name": "torch-distributed",
        "apiGroup": "trainer.kubeflow.org",
        "kind": "ClusterTrainingRuntime",
    }
    assert spec["managedBy"] == "trainer.kubeflow.org/trainjob-controller"
    assert spec["suspend"] is False


def test_names_must_be_such_that_hosts_can_have_them() -> None:
    for name in ("1st", "Mnist", "a.b", "x" * 64):
        obj = train_job()
        obj["metadata"]["name"] = name
        assert admitted(obj)[0].startswith("metadata.name: Invalid value")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"runtimeRef": {}}, "spec.runtimeRef.name: Required value"),
        ({"runtimeRef": {"name": "x", "kind": "Pod"}}, "spec.runtimeRef.kind: Unsupported value"),
        (
            {"runtimeRef": {"name": "x", "apiGroup": "example.org"}},
            "spec.runtimeRef.kind: Unsupported value",
        ),
        ({"managedBy": "somebody"}, "spec.managedBy: Unsupported value"),
        (
            {"initializer": {"dataset": {"storageUri": "data"}}},
            "spec.initializer.dataset.storageUri: Invalid value",
        ),
        ({"runtimePatches": [patch({}, "me")]}, "spec.runtimePatches[0].manager: Invalid value"),
        (
            {"runtimePatches": [patch({}), patch({})]},
            "spec.runtimePatches[1].manager: Duplicate value",
        ),
    ],
)
def test_mistakes_are_named_with_their_field(spec: Obj, complaint: str) -> None:
    (error,) = admitted(changed(train_job(), **spec))
    assert error.startswith(complaint)


def test_the_runtime_must_be_there_first() -> None:
    (error,) = admitted(train_job("flame-distributed"))
    assert error == (
        'spec.runtimeRef.name: Invalid value: "flame-distributed": ClusterTrainingRuntime not '
        "found: the runtime must be created before the TrainJob is"
    )


def test_a_deprecated_runtime_is_pointed_out() -> None:
    old = runtime()
    old["metadata"]["name"] = "old"
    assert warned(train_job("old"), runtime=old) == []
    old["metadata"]["labels"]["trainer.kubeflow.org/support"] = "deprecated"
    (warning,) = warned(train_job("old"), runtime=old)
    assert '"old" is deprecated' in warning


@pytest.mark.parametrize(
    ("on", "variable"),
    [
        ("torch-distributed", "PET_NNODES"),
        ("xgboost-distributed", "DMLC_TASK_ID"),
        ("jax-distributed", "JAX_PROCESS_ID"),
        ("deepspeed-distributed", "OMPI_MCA_orte_default_hostfile"),
    ],
)
def test_variables_of_the_runtime_are_reserved(on: str, variable: str) -> None:
    obj = train_job(on, trainer={"env": [{"name": variable, "value": "9"}]})
    (error,) = admitted(obj)
    assert error.startswith("spec.trainer.env[0].name: Forbidden")
    assert f"{variable} is reserved" in error
    other = "torch-distributed" if on != "torch-distributed" else "jax-distributed"
    assert admitted(train_job(other, trainer=obj["spec"]["trainer"])) == []


def test_resources_are_quantities() -> None:
    limits = {"limits": {"nvidia.com/gpu": "many"}}
    (error,) = admitted(train_job(trainer={"resourcesPerNode": limits}))
    assert error.startswith("spec.trainer.resourcesPerNode.limits[nvidia.com/gpu]: Invalid value")


def test_flux_is_refused_with_the_reason() -> None:
    flux = runtime(mlPolicy={"flux": {}})
    flux["metadata"]["name"] = "flux"
    assert warned(flux, kind=CLUSTER_TRAINING_RUNTIMES)
    (error,) = admitted(train_job("flux"), runtime=flux)
    assert "mlPolicy.flux is not supported" in error


def test_an_initializer_needs_its_step_in_the_runtime() -> None:
    wanted = {"dataset": {"storageUri": "s3://data"}}
    (error,) = admitted(train_job(initializer=wanted))
    assert "must have dataset-initializer job" in error
    assert admitted(train_job("torchtune-llama3.2-1b", initializer=wanted)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (patch({}, job="other"), "doesn't exist in the runtime"),
        (patch({"spec": {"containers": [{"name": "log"}]}}), "must not have container"),
        (patch({"spec": {"initContainers": [{"name": "log"}]}}), "must not have initContainer"),
        (
            patch({"spec": {"containers": [{"name": "node", "env": [{"name": "A"}]}]}}),
            "must not have envs for the node, dataset-initializer, model-initializer containers",
        ),
    ],
)
def test_patches_change_only_what_the_runtime_has(change: Obj, complaint: str) -> None:
    (error,) = admitted(train_job(runtimePatches=[change]))
    assert error.startswith("spec.runtimePatches[0].trainingRuntimeSpec.template.spec")
    assert complaint in error


@pytest.mark.parametrize(
    "change",
    [
        {"trainer": {"image": "other"}},
        {"runtimeRef": {"name": "jax-distributed"}},
        {"initializer": {"model": {}}},
        {"activeDeadlineSeconds": 9},
        {"managedBy": "kueue.x-k8s.io/multikueue"},
    ],
)
def test_most_of_a_train_job_never_changes(change: Obj) -> None:
    old = train_job()
    (field,) = change
    assert admitted(changed(old, **change), old) == [
        f"spec.{field}: Forbidden: the field is immutable"
    ]


def test_patches_change_only_while_suspended_and_nothing_runs() -> None:
    running, suspended = train_job(), train_job(suspend=True)
    patches = [patch({"spec": {"nodeSelector": {"zone": "b"}}})]
    (error,) = admitted(changed(running, runtimePatches=patches), running)
    assert error.startswith("spec.runtimePatches: Forbidden")
    assert admitted(changed(suspended, runtimePatches=patches), suspended) == []
    resumed = changed(suspended, runtimePatches=deep_copy(patches), suspend=False)
    assert admitted(resumed, suspended) == []
    counts = [{"name": "node", "active": 1}]
    jobset = {
        "kind": "JobSet",
        "metadata": {"name": "mnist"},
        "status": {"replicatedJobsStatus": counts},
    }
    (error,) = admitted(resumed, suspended, jobset=jobset)
    assert "while pods of the JobSet's node run" in error


def test_every_patch_says_when_it_was_last_changed() -> None:
    fixed = "2020-01-01T00:00:00Z"
    old = train_job(runtimePatches=[patch({}, "a.b/c"), patch({}, "a.b/d")], suspend=True)
    for entry in old["spec"]["runtimePatches"]:
        assert entry["time"] > fixed
        entry["time"] = fixed
    new = deep_copy(old)
    new["spec"]["runtimePatches"][1] = patch({"metadata": {"labels": {"a": "b"}}}, "a.b/d")
    assert admitted(new, old) == []
    times = [entry["time"] for entry in new["spec"]["runtimePatches"]]
    assert times[0] == fixed
    assert times[1] > fixed


# --- torchtune ---------------------------------------------------------------------------------


def tune(on: str = "torchtune-llama3.2-1b", **trainer: Any) -> list[str]:
    trainer = {"command": ["tune", "run"], **trainer}
    return admitted(train_job(on, trainer=trainer))


QLORA = ["model.lora_attn_modules=[q_proj]", "model.quantize_base=True"]


@pytest.mark.parametrize(
    ("on", "trainer", "complaint"),
    [
        ("torch-distributed", {}, "must have a supported pretrained model"),
        ("torchtune-llama3.2-1b", {"numNodes": 2}, "must be 1 for llama3_2/1B model"),
        ("torchtune-qwen2.5-1.5b", {"args": QLORA}, "QLoRA is not supported"),
        ("torchtune-llama3.2-3b", {"args": QLORA}, "must be auto or 1"),
        (
            "torchtune-llama3.2-1b",
            {"args": ["output_dir=/x"]},
            "must not set what the runtime says",
        ),
    ],
)
def test_torchtune_is_asked_only_for_what_it_can(on: str, trainer: Obj, complaint: str) -> None:
    assert any(complaint in error for error in tune(on, **trainer))


def test_torchtune_on_one_device_may_use_qlora() -> None:
    assert tune(args=QLORA, numProcPerNode=1) == []


# --- runtimes ----------------------------------------------------------------------------------


def test_built_in_runtimes_are_valid() -> None:
    from tests.training.trainjobs import RUNTIMES

    assert sorted(RUNTIMES) == [
        "deepspeed-distributed",
        "jax-distributed",
        "mlx-distributed",
        "torch-distributed",
        "torchtune-llama3.2-1b",
        "torchtune-llama3.2-3b",
        "torchtune-qwen2.5-1.5b",
        "xgboost-distributed",
    ]
    for found in RUNTIMES.values():
        assert admitted(deep_copy(found), kind=CLUSTER_TRAINING_RUNTIMES) == []


def test_a_runtime_has_one_job_per_step_with_the_steps_container() -> None:
    def wrong(change: Obj, container: str = "node", **labels: str) -> list[str]:
        found = runtime()
        found["metadata"]["labels"].update(labels)
        job = found["spec"]["template"]["spec"]["replicatedJobs"][0]
        job.update(change)
        job["template"]["spec"]["template"]["spec"]["containers"][0]["name"] = container
        return admitted(found, kind=CLUSTER_TRAINING_RUNTIMES)

    path = "spec.template.spec.replicatedJobs[0]"
    assert wrong({"replicas": 2}) == [f"{path}.replicas: Invalid value: 2: always must be 1"]
    (error,) = wrong({}, container="main")
    assert "must contain the required container for the ancestor: trainer (node)" in error
    opted_out = {"trainer.kubeflow.org/webhook-validation": "disabled"}
    assert wrong({"replicas": 2}, **opted_out) == []


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"mlPolicy": {"torch": {}, "mpi": {}}}, "only one of the policies can be set"),
        (
            {"podGroupPolicy": {"volcano": {}, "coscheduling": {}}},
            "only one of coscheduling and volcano can be set",
        ),
        (
            {
                "mlPolicy": {
                    "torch": {
                        "envInjection": {
                            "targets": [{"jobName": "node", "containerNames": ["node"]}]
                        }
                    }
                }
            },
            "must not include the node container",
        ),
    ],
)
def test_policies_of_a_runtime_do_not_contradict_each_other(spec: Obj, complaint: str) -> None:
    (error,) = admitted(runtime(**spec), kind=CLUSTER_TRAINING_RUNTIMES)
    assert complaint in error
