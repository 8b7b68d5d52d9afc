"""TrainJob and the runtimes, as typed structs from which their CRDs are generated.

The job (``TrainJob``) and how it runs (the runtimes) are described apart.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from kubeling.kube.crd import AnyObject, Column, Condition, EnvVar, ResourceRequirements, Time, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "CLUSTER_TRAINING_RUNTIMES",
    "TRAINING_RUNTIMES",
    "TRAIN_JOBS",
    "RuntimeSpec",
    "TrainJobSpec",
    "crds",
]

_GROUP: Final = "trainer.kubeflow.org"
TRAIN_JOBS: Final = Resource(_GROUP, "v1alpha1", "TrainJob", "trainjobs")
TRAINING_RUNTIMES: Final = Resource(_GROUP, "v1alpha1", "TrainingRuntime", "trainingruntimes")
CLUSTER_TRAINING_RUNTIMES: Final = Resource(
    _GROUP, "v1alpha1", "ClusterTrainingRuntime", "clustertrainingruntimes", False
)

Positive = Annotated[int, msgspec.Meta(ge=1)]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The wire conventions of all structs here."""


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
    """The definitions of TrainJob and of the runtimes."""
    return [
        crd(TRAIN_JOBS, TrainJobSpec, TrainJobStatus, columns=[_STATE]),
        *(
            crd(resource, RuntimeSpec)
            for resource in (TRAINING_RUNTIMES, CLUSTER_TRAINING_RUNTIMES)
        ),
    ]
