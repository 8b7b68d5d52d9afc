"""What is filled into a training job, and what is refused with the field's path."""

from __future__ import annotations

import pytest
from tests.training.jobs import admitted, manifest

from kubeling.kube.admission import AdmissionRequest
from kubeling.training.admission import admission_of
from kubeling.training.kinds import (
    JAX,
    KINDS,
    MPI,
    PADDLE,
    PYTORCH,
    TENSORFLOW,
    XGBOOST,
    JobKind,
)


def container(kind: JobKind, obj: dict, role: str) -> dict:
    return obj["spec"][kind.specs_field][role]["template"]["spec"]["containers"][0]


def test_a_container_without_a_name_becomes_the_one_that_trains() -> None:
    obj = manifest(TENSORFLOW, {"Worker": 4})
    assert admitted(TENSORFLOW, obj) == []
    assert container(TENSORFLOW, obj, "Worker")["name"] == "tensorflow"
    assert container(TENSORFLOW, obj, "Worker")["ports"] == [
        {"name": "tfjob-port", "containerPort": 2222}
    ]


def test_roles_may_be_written_in_any_case() -> None:
    obj = manifest(PYTORCH, {"master": 1, "WORKER": 2})
    assert admitted(PYTORCH, obj) == []
    assert set(obj["spec"]["pytorchReplicaSpecs"]) == {"Master", "Worker"}


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        (TENSORFLOW, "Never"),
        (PYTORCH, "OnFailure"),
        (XGBOOST, "Never"),
        (PADDLE, "OnFailure"),
        (JAX, "Never"),
    ],
)
def test_each_kind_has_its_own_restart_policy(kind: JobKind, policy: str) -> None:
    role = "Master" if kind is XGBOOST else "Worker"
    obj = manifest(kind, {role: 1})
    del obj["spec"][kind.specs_field][role]["replicas"]
    assert admitted(kind, obj) == []
    replica = obj["spec"][kind.specs_field][role]
    assert replica["restartPolicy"] == policy
    assert replica["replicas"] == 1
    assert obj["spec"]["runPolicy"]["cleanPodPolicy"] == "None"


def test_defaults_are_stable() -> None:
    for kind in KINDS:
        obj = manifest(kind, {kind.replica_types[-1]: 1})
        admitted(kind, obj)
        once = repr(obj)
        admitted(kind, obj)
        assert repr(obj) == once


def test_a_missing_image_is_named_by_its_path() -> None:
    obj = manifest(TENSORFLOW, {"Worker": 1})
    del container(TENSORFLOW, obj, "Worker")["image"]
    assert admitted(TENSORFLOW, obj) == [
        "spec.tfReplicaSpecs[Worker].template.spec.containers[0].image: Required value: "
        "name the image to run"
    ]


def test_a_role_the_kind_does_not_have_is_refused() -> None:
    errors = admitted(XGBOOST, manifest(XGBOOST, {"Master": 1, "Chief": 1}))
    assert len(errors) == 1
    assert errors[0].startswith('spec.xgbReplicaSpecs[Chief]: Unsupported value: "Chief"')


def test_an_xgboost_job_needs_one_master() -> None:
    (missing,) = admitted(XGBOOST, manifest(XGBOOST, {"Worker": 2}))
    assert missing.startswith("spec.xgbReplicaSpecs[Master]: Required value")
    (two,) = admitted(XGBOOST, manifest(XGBOOST, {"Master": 2}))
    assert two.startswith("spec.xgbReplicaSpecs[Master].replicas: Invalid value: 2")


def test_no_roles_at_all_is_refused() -> None:
    (error,) = admitted(TENSORFLOW, manifest(TENSORFLOW, {}))
    assert error.startswith("spec.tfReplicaSpecs: Required value")


def test_a_name_that_cannot_be_a_host_is_refused() -> None:
    obj = manifest(TENSORFLOW, {"Worker": 1})
    obj["metadata"]["name"] = "3.workers"
    (error,) = admitted(TENSORFLOW, obj)
    assert error.startswith('metadata.name: Invalid value: "3.workers"')


def test_the_manager_cannot_change() -> None:
    old = manifest(TENSORFLOW, {"Worker": 1}, runPolicy={})
    new = manifest(TENSORFLOW, {"Worker": 1}, runPolicy={"managedBy": "kueue.x-k8s.io/multikueue"})
    (error,) = admitted(TENSORFLOW, new, old)
    assert error == "spec.runPolicy.managedBy: Forbidden: the field is immutable"


def test_the_queue_cannot_change() -> None:
    old, new = (
        manifest(JAX, {"Worker": 1}, runPolicy={"schedulingPolicy": {"queue": queue}})
        for queue in ("a", "b")
    )
    (error,) = admitted(JAX, new, old)
    assert error == "spec.runPolicy.schedulingPolicy.queue: Forbidden: the field is immutable"


def test_an_mpi_job_needs_one_launcher_and_names_its_containers_as_it_likes() -> None:
    (missing,) = admitted(MPI, manifest(MPI, {"Worker": 2}))
    assert missing.startswith("spec.mpiReplicaSpecs[Launcher]: Required value")
    obj = manifest(MPI, {"Launcher": 1, "Worker": 2})
    container(MPI, obj, "Launcher")["name"] = "horovod"
    assert admitted(MPI, obj) == []
    assert "ports" not in container(MPI, obj, "Launcher")


def test_an_mpi_job_states_its_clean_up_once() -> None:
    obj = manifest(MPI, {"Launcher": 1}, cleanPodPolicy="All")
    assert admitted(MPI, obj) == []
    assert obj["spec"]["runPolicy"]["cleanPodPolicy"] == "All"
    both = manifest(
        MPI, {"Launcher": 1}, cleanPodPolicy="All", runPolicy={"cleanPodPolicy": "None"}
    )
    (error,) = admitted(MPI, both)
    assert error.startswith('spec.cleanPodPolicy: Invalid value: "All"')


@pytest.mark.parametrize(
    ("given", "bounds"),
    [({"maxRestarts": 1}, (2, 2)), ({"minReplicas": 1}, (1, 1)), ({"maxReplicas": 4}, (4, 4))],
)
def test_elastic_bounds_follow_from_what_is_given(given: dict, bounds: tuple[int, int]) -> None:
    obj = manifest(PYTORCH, {"Worker": 2}, elasticPolicy=given)
    assert admitted(PYTORCH, obj) == []
    elastic = obj["spec"]["elasticPolicy"]
    assert (elastic["minReplicas"], elastic["maxReplicas"]) == bounds


def test_an_elastic_job_needs_workers_and_sound_bounds() -> None:
    (error,) = admitted(PYTORCH, manifest(PYTORCH, {"Master": 1}, elasticPolicy={"minReplicas": 1}))
    assert error.startswith("spec.pytorchReplicaSpecs[Worker]: Required value")
    bounds = {"minReplicas": 3, "maxReplicas": 2}
    (error,) = admitted(PYTORCH, manifest(PYTORCH, {"Worker": 2}, elasticPolicy=bounds))
    assert (
        error
        == "spec.elasticPolicy.minReplicas: Invalid value: 3: must not be more than maxReplicas (2)"
    )


def test_processes_per_node_are_stated_once() -> None:
    obj = manifest(PYTORCH, {"Worker": 2}, nprocPerNode="2", elasticPolicy={"nProcPerNode": 2})
    (error,) = admitted(PYTORCH, obj)
    assert error.startswith("spec.elasticPolicy.nProcPerNode: Forbidden")


def test_the_old_place_of_processes_per_node_is_warned_of() -> None:
    obj = manifest(PYTORCH, {"Worker": 2}, elasticPolicy={"nProcPerNode": 2})
    assert admitted(PYTORCH, obj) == []
    warn = admission_of(PYTORCH).warn
    assert warn is not None
    (text,) = warn(obj, AdmissionRequest(PYTORCH.resource, "CREATE"))
    assert "use spec.nprocPerNode instead" in text
