"""The kinds of distributed training, as typed structs from which their CRDs are generated.

The ``kubeflow.org/v1`` kinds share everything but the name of the field that holds their replicas
and a few settings of their own; the ``trainer.kubeflow.org`` kinds describe the job (``TrainJob``)
and how it runs (the runtimes) apart.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from kubeling.kube.crd import (
    AnyObject,
    Column,
    Condition,
    EnvVar,
    IntOrString,
    PodTemplateSpec,
    ResourceRequirements,
    Scale,
    Time,
    crd,
)
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "CLUSTER_TRAINING_RUNTIMES",
    "JAX_JOBS",
    "PADDLE_JOBS",
    "PYTORCH_JOBS",
    "TF_JOBS",
    "TRAINING_RUNTIMES",
    "TRAIN_JOBS",
    "XGBOOST_JOBS",
    "ElasticPolicy",
    "JobStatus",
    "ReplicaSpec",
    "RunPolicy",
    "RuntimeSpec",
    "TrainJobSpec",
    "crds",
]


def _job(kind: str) -> Resource:
    return Resource("kubeflow.org", "v1", kind, f"{kind.lower()}s", True, (), ("all", "kubeflow"))


TF_JOBS: Final = _job("TFJob")
PYTORCH_JOBS: Final = _job("PyTorchJob")
XGBOOST_JOBS: Final = _job("XGBoostJob")
PADDLE_JOBS: Final = _job("PaddleJob")
JAX_JOBS: Final = _job("JAXJob")

TRAIN_JOBS: Final = Resource("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs")
TRAINING_RUNTIMES: Final = Resource(
    "trainer.kubeflow.org", "v1alpha1", "TrainingRuntime", "trainingruntimes"
)
CLUSTER_TRAINING_RUNTIMES: Final = Resource(
    "trainer.kubeflow.org", "v1alpha1", "ClusterTrainingRuntime", "clustertrainingruntimes", False
)

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The wire conventions of all structs here."""


class ReplicaSpec(_Struct, frozen=True):
    """One role of a training job: how many pods of it, made how, restarted when."""

    template: PodTemplateSpec
    replicas: Count | None = None
    restart_policy: Literal["Always", "OnFailure", "Never", "ExitCode"] | None = None


class SchedulingPolicy(_Struct, frozen=True):
    """How the pods are scheduled together, where the scheduler knows gangs."""

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

    min_replicas: Count | None = None
    max_replicas: Count | None = None
    rdzv_backend: str | None = None
    rdzv_host: str | None = None
    rdzv_port: int | None = None
    rdzv_id: str | None = None
    rdzv_conf: list[dict[str, str]] | None = None
    standalone: bool | None = None
    max_restarts: int | None = None
    n_proc_per_node: int | None = None


class PyTorchJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A distributed PyTorch job, started with ``python`` or ``torchrun``."""

    pytorch_replica_specs: dict[str, ReplicaSpec]
    elastic_policy: ElasticPolicy | None = None
    nproc_per_node: str | None = None


class XGBoostJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A distributed XGBoost job: the master runs the tracker, all train one model."""

    xgb_replica_specs: dict[str, ReplicaSpec]


class PaddleJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A distributed PaddlePaddle job."""

    paddle_replica_specs: dict[str, ReplicaSpec]


class JAXJobSpec(_JobSpec, frozen=True, kw_only=True):
    """A multi-process JAX job; worker 0 coordinates."""

    jax_replica_specs: dict[str, ReplicaSpec]


class ReplicaStatus(_Struct, frozen=True):
    """How many pods of one role run, succeeded and failed."""

    active: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    restarts: int | None = None
    selector: str | None = None


class JobStatus(_Struct, frozen=True):
    """Where a training job stands."""

    conditions: list[Condition] | None = None
    replica_statuses: dict[str, ReplicaStatus] | None = None
    start_time: Time | None = None
    completion_time: Time | None = None
    last_reconcile_time: Time | None = None


class RuntimeRef(_Struct, frozen=True):
    """Which runtime a TrainJob runs on."""

    name: str
    api_group: str = "trainer.kubeflow.org"
    kind: str = "ClusterTrainingRuntime"


class Initializer(_Struct, frozen=True):
    """A step that fetches a data set or a model before training."""

    storage_uri: str | None = None
    env: list[EnvVar] | None = None
    secret_ref: dict[str, str] | None = None


class Initializers(_Struct, frozen=True):
    """What is fetched before training."""

    dataset: Initializer | None = None
    model: Initializer | None = None


class Trainer(_Struct, frozen=True):
    """What the training nodes run, and how many there are."""

    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    num_nodes: Positive | None = None
    resources_per_node: ResourceRequirements | None = None
    num_proc_per_node: Positive | None = None


class RuntimePatch(_Struct, frozen=True):
    """What one manager changes in the runtime, merged strategically."""

    manager: str
    time: Time | None = None
    training_runtime_spec: AnyObject | None = None


class TrainJobSpec(_Struct, frozen=True):
    """A training job on a runtime."""

    runtime_ref: RuntimeRef
    initializer: Initializers | None = None
    trainer: Trainer | None = None
    runtime_patches: Annotated[list[RuntimePatch], msgspec.Meta(max_length=16)] | None = None
    suspend: bool | None = None
    active_deadline_seconds: Positive | None = None
    managed_by: str | None = None


class JobsStatus(_Struct, frozen=True):
    """Pods of one replicated job by state."""

    name: str
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    active: int = 0
    suspended: int = 0


class TrainJobStatus(_Struct, frozen=True):
    """Where a TrainJob stands; ``conditions`` stays empty until it is suspended or has ended."""

    conditions: list[Condition] | None = None
    jobs_status: list[JobsStatus] | None = None
    trainer_status: AnyObject | None = None


class MLPolicy(_Struct, frozen=True):
    """How many nodes train, and which framework's environment they get."""

    num_nodes: Positive | None = None
    torch: AnyObject | None = None
    jax: AnyObject | None = None
    xgboost: AnyObject | None = None
    mpi: AnyObject | None = None
    flux: AnyObject | None = None


class RuntimeSpec(_Struct, frozen=True):
    """A blueprint for TrainJobs: the policy and the JobSet they become."""

    ml_policy: MLPolicy | None = None
    pod_group_policy: AnyObject | None = None
    template: AnyObject | None = None


_STATE: Final = Column("State", ".status.conditions[-1:].type")


def crds() -> list[Obj]:
    """The definitions of all kinds of this room."""
    scale = Scale(
        ".spec.pytorchReplicaSpecs.Worker.replicas",
        ".status.replicaStatuses.Worker.active",
        ".status.replicaStatuses.Worker.selector",
    )
    kinds: tuple[tuple[Resource, Any, Scale | None], ...] = (
        (TF_JOBS, TFJobSpec, None),
        (PYTORCH_JOBS, PyTorchJobSpec, scale),
        (XGBOOST_JOBS, XGBoostJobSpec, None),
        (PADDLE_JOBS, PaddleJobSpec, None),
        (JAX_JOBS, JAXJobSpec, None),
    )
    definitions = [
        crd(resource, spec, JobStatus, columns=[_STATE], scale=where)
        for resource, spec, where in kinds
    ]
    definitions.append(crd(TRAIN_JOBS, TrainJobSpec, TrainJobStatus, columns=[_STATE]))
    definitions += [
        crd(resource, RuntimeSpec) for resource in (TRAINING_RUNTIMES, CLUSTER_TRAINING_RUNTIMES)
    ]
    return definitions
