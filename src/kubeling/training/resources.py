"""The ``kubeflow.org/v1`` kinds of training, as typed structs from which their CRDs are made.

They share everything but the name of the field that holds their replicas and a few settings of
their own.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from kubeling.kube.crd import (
    Column,
    Condition,
    IntOrString,
    PodTemplateSpec,
    Ref,
    Scale,
    Time,
    crd,
)
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "JAX_JOBS",
    "MPI_JOBS",
    "PADDLE_JOBS",
    "PYTORCH_JOBS",
    "TF_JOBS",
    "XGBOOST_JOBS",
    "ElasticPolicy",
    "JobStatus",
    "ReplicaSpec",
    "RunPolicy",
    "crds",
]


def _job(kind: str) -> Resource:
    return Resource("kubeflow.org", "v1", kind, f"{kind.lower()}s", True, (), ("all", "kubeflow"))


TF_JOBS: Final = _job("TFJob")
PYTORCH_JOBS: Final = _job("PyTorchJob")
XGBOOST_JOBS: Final = _job("XGBoostJob")
MPI_JOBS: Final = _job("MPIJob")
PADDLE_JOBS: Final = _job("PaddleJob")
JAX_JOBS: Final = _job("JAXJob")

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
MetricSpec = Annotated[dict[str, Any], Ref("io.k8s.api.autoscaling.v2.MetricSpec")]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The wire conventions of all structs here."""


class ReplicaSpec(_Struct, frozen=True):
    """One role of a training job: how many pods of it, made how, restarted when."""

    template: PodTemplateSpec
    replicas: Count | None = None
    restart_policy: Literal["Always", "OnFailure", "Never", "ExitCode"] | None = None


class SchedulingPolicy(_Struct, frozen=True):
    """How many of the pods have to start together, and what the scheduler is told of them."""

    min_available: int | None = None
    queue: str | None = None
    min_resources: dict[str, IntOrString] | None = None
    priority_class: str | None = None
    schedule_timeout_seconds: int | None = None


class RunPolicy(_Struct, frozen=True):
    """How long the job may run, how often it may fail, and what is left of it at its end."""

    clean_pod_policy: Literal["None", "Running", "All"] | None = None
    ttl_seconds_after_finished: Count | None = None
    active_deadline_seconds: Count | None = None
    backoff_limit: Count | None = None
    suspend: bool | None = None
    managed_by: str | None = None
    scheduling_policy: SchedulingPolicy | None = None


class _JobSpec(_Struct, frozen=True):
    run_policy: RunPolicy | None = None


class TFJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A distributed TensorFlow job: each process reads the cluster from TF_CONFIG."""

    tf_replica_specs: dict[str, ReplicaSpec]
    success_policy: Literal["", "AllWorkers"] | None = None
    enable_dynamic_worker: bool | None = None


class ElasticPolicy(_Struct, frozen=True):
    """Lets the number of workers change while the job runs (torchrun's rendezvous)."""

    min_replicas: Positive | None = None
    max_replicas: Positive | None = None
    rdzv_backend: str | None = None
    rdzv_host: str | None = None
    rdzv_port: int | None = None
    rdzv_id: str | None = None
    rdzv_conf: list[dict[str, str]] | None = None
    standalone: bool | None = None
    max_restarts: Count | None = None
    n_proc_per_node: int | None = None
    metrics: list[MetricSpec] | None = None


class PyTorchJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A distributed PyTorch job, started with ``python`` or ``torchrun``."""

    pytorch_replica_specs: dict[str, ReplicaSpec]
    elastic_policy: ElasticPolicy | None = None
    nproc_per_node: str | None = None


class XGBoostJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A distributed XGBoost job: the master runs the tracker, all train one model."""

    xgb_replica_specs: dict[str, ReplicaSpec]


class MPIJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A job of MPI: the launcher runs ``mpirun``, which starts processes in the workers' pods."""

    mpi_replica_specs: dict[str, ReplicaSpec]
    slots_per_worker: Positive | None = None
    main_container: str | None = None
    clean_pod_policy: Literal["None", "Running", "All"] | None = None


class PaddleElasticPolicy(_Struct, frozen=True):
    """Between how many workers the job is scaled, and by what."""

    min_replicas: Positive | None = None
    max_replicas: Positive | None = None
    max_restarts: Count | None = None
    metrics: list[MetricSpec] | None = None


class PaddleJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A distributed PaddlePaddle job."""

    paddle_replica_specs: dict[str, ReplicaSpec]
    elastic_policy: PaddleElasticPolicy | None = None


class JAXJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A multi-process JAX job; worker 0 coordinates."""

    jax_replica_specs: dict[str, ReplicaSpec]


class ReplicaStatus(_Struct, frozen=True):
    """How many pods of one role run, succeeded and failed."""

    active: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    restarts: int | None = None
    restarting: list[str] | None = None
    """The uids of failed pods whose restart is counted and that are not gone yet."""
    selector: str | None = None


class JobStatus(_Struct, frozen=True):
    """Where a training job stands."""

    conditions: list[Condition] | None = None
    replica_statuses: dict[str, ReplicaStatus] | None = None
    start_time: Time | None = None
    completion_time: Time | None = None
    last_reconcile_time: Time | None = None


_STATE: Final = Column("State", ".status.conditions[-1:].type")


def _scale(replicas: str) -> Scale:
    """The number of workers as a scale, where upstream has one."""
    workers = ".status.replicaStatuses.Worker"
    return Scale(f".spec.{replicas}.Worker.replicas", f"{workers}.active", f"{workers}.selector")


def crds() -> list[Obj]:
    """The definitions of the kubeflow.org/v1 kinds."""
    kinds: tuple[tuple[Resource, Any, Scale | None], ...] = (
        (TF_JOBS, TFJobSpec, None),
        (PYTORCH_JOBS, PyTorchJobSpec, _scale("pytorchReplicaSpecs")),
        (XGBOOST_JOBS, XGBoostJobSpec, None),
        (MPI_JOBS, MPIJobSpec, None),
        (PADDLE_JOBS, PaddleJobSpec, _scale("paddleReplicaSpecs")),
        (JAX_JOBS, JAXJobSpec, _scale("jaxReplicaSpecs")),
    )
    return [
        crd(resource, spec, JobStatus, columns=[_STATE], scale=where)
        for resource, spec, where in kinds
    ]
