"""Experiment, Suggestion and Trial as typed structs, from which their CRDs are generated.

The schema only says which fields there are. What must be given, and what goes with what, is said by
:mod:`kubeling.tuning.validation`, which can name the remedy.
"""

from __future__ import annotations

from typing import Final

import msgspec

from kubeling.kube.crd import AnyObject, Column, Condition, Container, Time, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "EXPERIMENTS",
    "SUGGESTIONS",
    "TRIALS",
    "Algorithm",
    "ExperimentSpec",
    "FeasibleSpace",
    "MetricsCollector",
    "Objective",
    "Parameter",
    "TrialTemplate",
    "crds",
]

_CATEGORIES: Final = ("all", "kubeflow", "katib")


def _kind(kind: str) -> Resource:
    plural = f"{kind.lower()}s"
    return Resource("kubeflow.org", "v1beta1", kind, plural, categories=_CATEGORIES)


EXPERIMENTS: Final = _kind("Experiment")
SUGGESTIONS: Final = _kind("Suggestion")
TRIALS: Final = _kind("Trial")


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The wire conventions of all structs here."""


class Setting(_Struct, frozen=True):
    """One setting of an algorithm; the value is text whatever it means."""

    name: str
    value: str


class Algorithm(_Struct, frozen=True):
    """Which algorithm proposes the points, with what settings."""

    algorithm_name: str = ""
    algorithm_settings: list[Setting] | None = None

    def settings(self) -> dict[str, str]:
        return {setting.name: setting.value for setting in self.algorithm_settings or ()}


class MetricStrategy(_Struct, frozen=True):
    """Which of a metric's values counts: ``min``, ``max`` or ``latest``."""

    name: str
    value: str


class Objective(_Struct, frozen=True):
    """What to make as small or as large as possible, and how good is good enough."""

    type: str = ""
    goal: float | None = None
    objective_metric_name: str = ""
    additional_metric_names: list[str] | None = None
    metric_strategies: list[MetricStrategy] | None = None


class FeasibleSpace(_Struct, frozen=True):
    """The values a parameter may take."""

    min: str | None = None
    max: str | None = None
    step: str | None = None
    values: list[str] | None = msgspec.field(default=None, name="list")
    distribution: str | None = None


class Parameter(_Struct, frozen=True):
    """One dimension of the search space."""

    name: str = ""
    parameter_type: str = ""
    feasible_space: FeasibleSpace = FeasibleSpace()


class Filter(_Struct, frozen=True):
    """Regular expressions with a name and a value group."""

    metrics_format: list[str] | None = None


class FileSystemPath(_Struct, frozen=True):
    """The file metrics are written to."""

    path: str | None = None
    kind: str | None = None
    format: str | None = None


class Source(_Struct, frozen=True):
    """Where metrics are found, and how they are written."""

    file_system_path: FileSystemPath | None = None
    filter: Filter | None = None
    http_get: AnyObject | None = None


class Collector(_Struct, frozen=True):
    """How metrics are collected."""

    kind: str | None = None
    custom_collector: Container | None = None


class MetricsCollector(_Struct, frozen=True):
    """How metrics get from the trials to the experiment."""

    collector: Collector | None = None
    source: Source | None = None


class ConfigMapSource(_Struct, frozen=True):
    """A trial template kept in a ConfigMap."""

    config_map_name: str = ""
    config_map_namespace: str = ""
    template_path: str = ""


class TrialParameter(_Struct, frozen=True):
    """A placeholder of the template and what stands in for it."""

    name: str = ""
    description: str | None = None
    reference: str = ""


class TrialTemplate(_Struct, frozen=True):
    """What a trial runs: any object, with placeholders for its parameters."""

    trial_spec: AnyObject | None = None
    config_map: ConfigMapSource | None = None
    trial_parameters: list[TrialParameter] | None = None
    primary_pod_labels: dict[str, str] | None = None
    primary_container_name: str | None = None
    success_condition: str | None = None
    failure_condition: str | None = None
    retain: bool | None = None


class ExperimentSpec(_Struct, frozen=True):
    """A search for the parameters that make an objective best."""

    parameters: list[Parameter] | None = None
    objective: Objective | None = None
    algorithm: Algorithm | None = None
    early_stopping: Algorithm | None = None
    trial_template: TrialTemplate | None = None
    parallel_trial_count: int | None = None
    max_trial_count: int | None = None
    max_failed_trial_count: int | None = None
    metrics_collector_spec: MetricsCollector | None = None
    nas_config: AnyObject | None = None
    resume_policy: str | None = None


class Assignment(_Struct, frozen=True):
    """A parameter and its value."""

    name: str
    value: str


class Metric(_Struct, frozen=True):
    """A metric's smallest, largest and last value, as text."""

    name: str
    min: str
    max: str
    latest: str


class Observation(_Struct, frozen=True):
    """What a trial measured."""

    metrics: list[Metric] | None = None


class OptimalTrial(_Struct, frozen=True):
    """The best trial so far."""

    best_trial_name: str = ""
    parameter_assignments: list[Assignment] | None = None
    observation: Observation | None = None


class ExperimentStatus(_Struct, frozen=True):
    """How far the search is, and what it found."""

    start_time: Time | None = None
    completion_time: Time | None = None
    last_reconcile_time: Time | None = None
    conditions: list[Condition] | None = None
    current_optimal_trial: OptimalTrial | None = None
    pareto_front: list[OptimalTrial] | None = None
    running_trial_list: list[str] | None = None
    pending_trial_list: list[str] | None = None
    failed_trial_list: list[str] | None = None
    succeeded_trial_list: list[str] | None = None
    killed_trial_list: list[str] | None = None
    early_stopped_trial_list: list[str] | None = None
    metrics_unavailable_trial_list: list[str] | None = None
    trials: int | None = None
    trials_succeeded: int | None = None
    trials_failed: int | None = None
    trials_killed: int | None = None
    trials_pending: int | None = None
    trials_running: int | None = None
    trials_early_stopped: int | None = None
    trial_metrics_unavailable: int | None = None


class SuggestionSpec(_Struct, frozen=True):
    """How many points are asked for, of which algorithm."""

    algorithm: Algorithm | None = None
    early_stopping: Algorithm | None = None
    requests: int | None = None
    resume_policy: str | None = None


class TrialAssignment(_Struct, frozen=True):
    """A proposed point and the name of the trial that will try it."""

    name: str
    parameter_assignments: list[Assignment] | None = None
    early_stopping_rules: list[AnyObject] | None = None
    labels: dict[str, str] | None = None


class SuggestionStatus(_Struct, frozen=True):
    """The points proposed so far, in order."""

    algorithm_settings: list[Setting] | None = None
    suggestion_count: int | None = None
    suggestions: list[TrialAssignment] | None = None
    start_time: Time | None = None
    completion_time: Time | None = None
    last_reconcile_time: Time | None = None
    conditions: list[Condition] | None = None


class TrialSpec(_Struct, frozen=True):
    """One point to be tried."""

    objective: Objective | None = None
    parameter_assignments: list[Assignment] | None = None
    early_stopping_rules: list[AnyObject] | None = None
    run_spec: AnyObject | None = None
    retain_run: bool | None = None
    metrics_collector: MetricsCollector | None = None
    primary_pod_labels: dict[str, str] | None = None
    primary_container_name: str | None = None
    success_condition: str | None = None
    failure_condition: str | None = None
    labels: dict[str, str] | None = None


class TrialStatus(_Struct, frozen=True):
    """How the trial went."""

    start_time: Time | None = None
    completion_time: Time | None = None
    last_reconcile_time: Time | None = None
    conditions: list[Condition] | None = None
    observation: Observation | None = None


_TYPE: Final = Column("Type", ".status.conditions[-1:].type")
_STATUS: Final = Column("Status", ".status.conditions[-1:].status")


def crds() -> list[Obj]:
    """The definitions of the three kinds."""
    counts = [
        Column("Requested", ".spec.requests", "integer"),
        Column("Assigned", ".status.suggestionCount", "integer"),
    ]
    return [
        crd(EXPERIMENTS, ExperimentSpec, ExperimentStatus, columns=[_TYPE, _STATUS]),
        crd(SUGGESTIONS, SuggestionSpec, SuggestionStatus, columns=[_TYPE, _STATUS, *counts]),
        crd(TRIALS, TrialSpec, TrialStatus, columns=[_TYPE, _STATUS]),
    ]
