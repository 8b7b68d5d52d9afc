"""OptimizationJob, as typed structs from which its CRD is generated.

Bounds are those of kubeflow/trainer's master (``optimizationjob_types.go``, August 2026).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from kubeling.kube.crd import AnyObject, Column, Condition, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["OPTIMIZATION_JOBS", "TRAIN_JOBS", "OptimizationJobSpec", "crds"]

_GROUP: Final = "trainer.kubeflow.org"
OPTIMIZATION_JOBS: Final = Resource(_GROUP, "v1alpha1", "OptimizationJob", "optimizationjobs")
TRAIN_JOBS: Final = Resource(_GROUP, "v1alpha1", "TrainJob", "trainjobs")

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Trials = Annotated[int, msgspec.Meta(ge=1, le=100)]
Double = Annotated[
    str, msgspec.Meta(max_length=64, pattern=r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$")
]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The wire conventions of all structs here."""


class Objective(_Struct, frozen=True):
    """The metric to make large or small, as TrainJobs report it."""

    metric: Short
    direction: Literal["Maximize", "Minimize"] | None = None


class RandomAlgorithm(_Struct, frozen=True):
    """Independent draws."""

    seed: int | None = None


class GridAlgorithm(_Struct, frozen=True):
    """Every combination."""


class SearchAlgorithm(_Struct, frozen=True):
    """How to search: one of them."""

    random: RandomAlgorithm | None = None
    grid: GridAlgorithm | None = None


class ContinuousSpace(_Struct, frozen=True):
    """Numbers between two bounds."""

    min: Double
    max: Double
    type: Literal["Int", "Float"] | None = None


class CategoricalSpace(_Struct, frozen=True):
    """A list of values."""

    choices: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=64)]],
        msgspec.Meta(min_length=1, max_length=100),
    ]


class SearchSpace(_Struct, frozen=True):
    """The values of a parameter: one of them."""

    uniform: ContinuousSpace | None = None
    log_uniform: ContinuousSpace | None = None
    categorical: CategoricalSpace | None = None


class Parameter(_Struct, frozen=True):
    """A hyperparameter."""

    name: Short
    search_space: SearchSpace


class TrainJobTemplate(_Struct, frozen=True):
    """The TrainJob that every trial is."""

    spec: AnyObject
    metadata: AnyObject | None = None


class OptimizationJobSpec(_Struct, frozen=True):
    """A search for the best parameters of a TrainJob."""

    objectives: Annotated[list[Objective], msgspec.Meta(min_length=1, max_length=1)]
    parameters: Annotated[list[Parameter], msgspec.Meta(min_length=1, max_length=100)]
    train_job_template: TrainJobTemplate
    search_algorithm: SearchAlgorithm | None = None
    num_trials: Trials = 1
    parallel_trials: Trials = 1


class Assignment(_Struct, frozen=True):
    """The value of a parameter."""

    name: Short
    value: Short


class Result(_Struct, frozen=True):
    """The best trial so far."""

    train_job_name: str
    parameters: list[Assignment] | None = None


class OptimizationJobStatus(_Struct, frozen=True):
    """Where the search stands."""

    conditions: list[Condition] | None = None
    result: Result | None = None


def crds() -> list[Obj]:
    """The definition of OptimizationJob."""
    columns = [
        Column("State", ".status.conditions[-1:].type"),
        Column("Best", ".status.result.trainJobName"),
    ]
    return [crd(OPTIMIZATION_JOBS, OptimizationJobSpec, OptimizationJobStatus, columns=columns)]
