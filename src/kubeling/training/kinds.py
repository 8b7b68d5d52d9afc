"""The table of training kinds: everything in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.training import environment, mpi
from kubeling.training.job import JobKind, Progress, TrainingJob
from kubeling.training.resources import (
    JAX_JOBS,
    MPI_JOBS,
    PADDLE_JOBS,
    PYTORCH_JOBS,
    TF_JOBS,
    XGBOOST_JOBS,
)

__all__ = ["JAX", "KINDS", "MPI", "PADDLE", "PYTORCH", "TENSORFLOW", "XGBOOST"]

_States = Mapping[str, Progress]


def _role_done(states: _States, role: str) -> bool:
    return role in states and states[role].wanted > 0 and states[role].all_done


def _tensorflow_succeeded(job: TrainingJob, states: _States) -> bool:
    """The chief decides; without one, worker 0 does unless the policy says all workers."""
    for role in ("Chief", "Master"):
        if job.count(role) > 0:
            return _role_done(states, role)
    if job.count("Worker") == 0:
        return all(_role_done(states, role) for role in job.replica_specs)
    if job.spec.get("successPolicy") == "AllWorkers":
        return _role_done(states, "Worker")
    return 0 in states["Worker"].done


def _master_succeeded(_: TrainingJob, states: _States) -> bool:
    return _role_done(states, "Master")


def _master_or_workers_succeeded(job: TrainingJob, states: _States) -> bool:
    """The master decides; without one, all workers do (any of them where they are elastic)."""
    if job.count("Master") > 0:
        return _role_done(states, "Master")
    if job.elastic_policy:
        return states["Worker"].succeeded > 0
    return _role_done(states, "Worker")


def _launcher_succeeded(_: TrainingJob, states: _States) -> bool:
    return _role_done(states, "Launcher")


def _workers_succeeded(_: TrainingJob, states: _States) -> bool:
    return _role_done(states, "Worker")


TENSORFLOW: Final = JobKind(
    resource=TF_JOBS,
    specs_field="tfReplicaSpecs",
    container="tensorflow",
    port_name="tfjob-port",
    port=2222,
    replica_types=("Chief", "Master", "PS", "Worker", "Evaluator"),
    restart_policy="Never",
    leaders=("Chief", "Master"),
    environment=environment.tensorflow,
    succeeded=_tensorflow_succeeded,
    singletons=("Chief", "Master"),
    environment_of="default",
)
PYTORCH: Final = JobKind(
    resource=PYTORCH_JOBS,
    specs_field="pytorchReplicaSpecs",
    container="pytorch",
    port_name="pytorchjob-port",
    port=23456,
    replica_types=("Master", "Worker"),
    restart_policy="OnFailure",
    leaders=("Master",),
    environment=environment.pytorch,
    succeeded=_master_or_workers_succeeded,
    singletons=("Master",),
)
XGBOOST: Final = JobKind(
    resource=XGBOOST_JOBS,
    specs_field="xgbReplicaSpecs",
    container="xgboost",
    port_name="xgboostjob-port",
    port=9999,
    replica_types=("Master", "Worker"),
    restart_policy="Never",
    leaders=("Master",),
    environment=environment.xgboost,
    succeeded=_master_succeeded,
    singletons=("Master",),
    required=("Master",),
)
MPI: Final = JobKind(
    resource=MPI_JOBS,
    specs_field="mpiReplicaSpecs",
    container="mpi",
    port_name="mpi-port",
    port=9999,
    replica_types=("Launcher", "Worker"),
    restart_policy="Never",
    leaders=("Launcher",),
    environment=mpi.environment,
    succeeded=_launcher_succeeded,
    singletons=("Launcher",),
    required=("Launcher",),
    environment_of="first",
    any_container=True,
    prepare=mpi.prepare,
    companions=mpi.objects,
    services=False,
    unnumbered=("Launcher",),
)
PADDLE: Final = JobKind(
    resource=PADDLE_JOBS,
    specs_field="paddleReplicaSpecs",
    container="paddle",
    port_name="master",
    port=36543,
    replica_types=("Master", "Worker"),
    restart_policy="OnFailure",
    leaders=("Master",),
    environment=environment.paddle,
    succeeded=_master_or_workers_succeeded,
)
JAX: Final = JobKind(
    resource=JAX_JOBS,
    specs_field="jaxReplicaSpecs",
    container="jax",
    port_name="jaxjob-port",
    port=6666,
    replica_types=("Worker",),
    restart_policy="Never",
    leaders=(),
    environment=environment.jax,
    succeeded=_workers_succeeded,
    required=("Worker",),
)

KINDS: Final = (TENSORFLOW, PYTORCH, XGBOOST, MPI, PADDLE, JAX)
