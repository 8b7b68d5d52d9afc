"""TrainJob and the runtimes, as typed structs from which their CRDs are generated.

The job (``TrainJob``) and how it runs (the runtimes) are described apart. Bounds are those of
``trainer.kubeflow.org/v1alpha1`` (kubeflow/trainer, ``pkg/apis``).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from kubeling.kube.crd import (
    Affinity,
    AnyObject,
    Column,
    Condition,
    EnvVar,
    Ref,
    ResourceRequirements,
    Time,
    Volume,
    crd,
)
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.training.jobset.resources import JobSetSpec

__all__ = [
    "CLUSTER_TRAINING_RUNTIMES",
    "TRAINING_RUNTIMES",
    "TRAIN_JOBS",
    "RuntimeSpec",
    "TrainJobSpec",
    "TrainerStatus",
    "crds",
]

_GROUP: Final = "trainer.kubeflow.org"
TRAIN_JOBS: Final = Resource(_GROUP, "v1alpha1", "TrainJob", "trainjobs")
TRAINING_RUNTIMES: Final = Resource(_GROUP, "v1alpha1", "TrainingRuntime", "trainingruntimes")
CLUSTER_TRAINING_RUNTIMES: Final = Resource(
    _GROUP, "v1alpha1", "ClusterTrainingRuntime", "clustertrainingruntimes", False
)

_CORE: Final = "io.k8s.api.core.v1"
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Uri = Annotated[str, msgspec.Meta(max_length=2048)]
Words = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=1048576)]], msgspec.Meta(max_length=128)
]
Env = Annotated[list[EnvVar], msgspec.Meta(max_length=128)]
LocalObjectReference = Annotated[dict[str, Any], Ref(f"{_CORE}.LocalObjectReference")]
SecurityContext = Annotated[dict[str, Any], Ref(f"{_CORE}.SecurityContext")]
PodSecurityContext = Annotated[dict[str, Any], Ref(f"{_CORE}.PodSecurityContext")]
Toleration = Annotated[dict[str, Any], Ref(f"{_CORE}.Toleration")]
VolumeMount = Annotated[dict[str, Any], Ref(f"{_CORE}.VolumeMount")]
PodSchedulingGate = Annotated[dict[str, Any], Ref(f"{_CORE}.PodSchedulingGate")]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The wire conventions of all structs here."""


class RuntimeRef(_Struct, frozen=True):
    """Which runtime a TrainJob runs on."""

    name: Name
    api_group: Annotated[str, msgspec.Meta(max_length=253)] = _GROUP
    kind: Annotated[str, msgspec.Meta(max_length=253)] = "ClusterTrainingRuntime"


class Initializer(_Struct, frozen=True):
    """A step that fetches a data set or a model before training."""

    storage_uri: Uri | None = None
    env: Env | None = None
    secret_ref: LocalObjectReference | None = None


class Initializers(_Struct, frozen=True):
    """What is fetched before training."""

    dataset: Initializer | None = None
    model: Initializer | None = None


class Trainer(_Struct, frozen=True):
    """What the training nodes run, and how many there are."""

    image: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    command: Words | None = None
    args: Words | None = None
    env: Env | None = None
    num_nodes: Positive | None = None
    resources_per_node: ResourceRequirements | None = None
    num_proc_per_node: Positive | None = None


class Metadata(_Struct, frozen=True):
    """What a patch may change of an object's metadata."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ContainerPatch(_Struct, frozen=True):
    """What a patch may change of a container that the runtime has."""

    name: Name
    env: Env | None = None
    volume_mounts: Annotated[list[VolumeMount], msgspec.Meta(max_length=128)] | None = None
    security_context: SecurityContext | None = None


class PodSpecPatch(_Struct, frozen=True):
    """What a patch may change of a pod."""

    service_account_name: Annotated[str, msgspec.Meta(max_length=253)] | None = None
    volumes: Annotated[list[Volume], msgspec.Meta(max_length=128)] | None = None
    init_containers: Annotated[list[ContainerPatch], msgspec.Meta(max_length=64)] | None = None
    containers: Annotated[list[ContainerPatch], msgspec.Meta(max_length=64)] | None = None
    image_pull_secrets: (
        Annotated[list[LocalObjectReference], msgspec.Meta(max_length=64)] | None
    ) = None
    security_context: PodSecurityContext | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: Annotated[list[Toleration], msgspec.Meta(max_length=128)] | None = None
    scheduling_gates: Annotated[list[PodSchedulingGate], msgspec.Meta(max_length=16)] | None = None
    termination_grace_period_seconds: Count | None = None


class PodTemplatePatch(_Struct, frozen=True):
    """A pod template, as far as a patch may change it."""

    metadata: Metadata | None = None
    spec: PodSpecPatch | None = None


class JobSpecPatch(_Struct, frozen=True):
    """A Job, as far as a patch may change it."""

    template: PodTemplatePatch | None = None


class JobTemplatePatch(_Struct, frozen=True):
    """A Job template, as far as a patch may change it."""

    metadata: Metadata | None = None
    spec: JobSpecPatch | None = None


class ReplicatedJobPatch(_Struct, frozen=True):
    """A group of Jobs, as far as a patch may change it."""

    name: Name
    template: JobTemplatePatch | None = None


class JobSetSpecPatch(_Struct, frozen=True):
    """A JobSet, as far as a patch may change it."""

    replicated_jobs: Annotated[list[ReplicatedJobPatch], msgspec.Meta(max_length=100)] | None = None


class JobSetTemplatePatch(_Struct, frozen=True):
    """A JobSet template, as far as a patch may change it."""

    metadata: Metadata | None = None
    spec: JobSetSpecPatch | None = None


class RuntimeSpecPatch(_Struct, frozen=True):
    """A runtime, as far as a patch may change it."""

    template: JobSetTemplatePatch | None = None


class RuntimePatch(_Struct, frozen=True):
    """What one manager changes in the runtime, merged strategically."""

    manager: Name
    time: Time | None = None
    training_runtime_spec: RuntimeSpecPatch | None = None


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
    """The Jobs of one group by state."""

    name: Name
    ready: Count
    succeeded: Count
    failed: Count
    active: Count
    suspended: Count


class Metric(_Struct, frozen=True):
    """The latest value of a metric, as text."""

    name: Short
    value: Short


class TrainerStatus(_Struct, frozen=True):
    """How far the training has come, as the training itself reports it."""

    last_updated_time: Time
    progress_percentage: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    estimated_remaining_seconds: Count | None = None
    metrics: Annotated[list[Metric], msgspec.Meta(max_length=256)] | None = None


class TrainJobStatus(_Struct, frozen=True):
    """Where a TrainJob stands; ``conditions`` stays empty until it is suspended or has ended.

    ``phase`` is not upstream's: it is what the column STATE shows meanwhile.
    """

    conditions: Annotated[list[Condition], msgspec.Meta(max_length=8)] | None = None
    jobs_status: Annotated[list[JobsStatus], msgspec.Meta(max_length=100)] | None = None
    trainer_status: TrainerStatus | None = None
    phase: Literal["Created", "Running", "Suspended", "Complete", "Failed"] | None = None


class EnvInjectionTarget(_Struct, frozen=True):
    """Containers beside the main one that are told of the other nodes."""

    job_name: Name
    container_names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=8)]


class EnvInjection(_Struct, frozen=True):
    """Which containers beside the main one are told of the other nodes."""

    targets: Annotated[list[EnvInjectionTarget], msgspec.Meta(max_length=16)] | None = None


class ElasticPolicy(_Struct, frozen=True):
    """Lets torchrun go on with fewer nodes and take back those that return.

    Upstream had the field up to 2.0 and wants it back (kubeflow/trainer#2903).
    """

    min_nodes: Positive | None = None
    max_restarts: Count | None = None


class Torch(_Struct, frozen=True):
    """PyTorch, started with torchrun."""

    env_injection: EnvInjection | None = None
    elastic_policy: ElasticPolicy | None = None


class MPI(_Struct, frozen=True):
    """MPI, started by a launcher."""

    num_proc_per_node: Positive = 1
    mpi_implementation: Literal["OpenMPI", ""] = "OpenMPI"
    ssh_auth_mount_path: Annotated[str, msgspec.Meta(max_length=4096)] = "/root/.ssh"
    run_launcher_as_node: bool = False


class Flux(_Struct, frozen=True):
    """Flux, which is known but not run here."""

    num_proc_per_node: Positive = 1


class MLPolicy(_Struct, frozen=True):
    """How many nodes train, and which framework's environment they get: at most one."""

    num_nodes: Positive | None = None
    torch: Torch | None = None
    jax: AnyObject | None = None
    xgboost: AnyObject | None = None
    mpi: MPI | None = None
    flux: Flux | None = None


class Coscheduling(_Struct, frozen=True):
    """Gang scheduling by Kubernetes' scheduler-plugins."""

    schedule_timeout_seconds: int = 60


class Volcano(_Struct, frozen=True):
    """Gang scheduling by Volcano."""

    network_topology: AnyObject | None = None


class PodGroupPolicy(_Struct, frozen=True):
    """Whose gang scheduling the pods want: one of them."""

    coscheduling: Coscheduling | None = None
    volcano: Volcano | None = None


class JobSetTemplate(_Struct, frozen=True):
    """The JobSet that TrainJobs become."""

    metadata: AnyObject | None = None
    spec: JobSetSpec | None = None


class RuntimeSpec(_Struct, frozen=True):
    """A blueprint for TrainJobs: the policy and the JobSet they become."""

    ml_policy: MLPolicy | None = None
    pod_group_policy: PodGroupPolicy | None = None
    template: JobSetTemplate | None = None


def crds() -> list[Obj]:
    """The definitions of TrainJob and of the runtimes."""
    columns = [
        Column("State", ".status.phase"),
        Column("Progress", ".status.trainerStatus.progressPercentage", "integer"),
    ]
    runtimes = (TRAINING_RUNTIMES, CLUSTER_TRAINING_RUNTIMES)
    return [
        crd(TRAIN_JOBS, TrainJobSpec, TrainJobStatus, columns=columns),
        *(crd(resource, RuntimeSpec) for resource in runtimes),
    ]
