"""The rules of an Experiment, each failure with its field and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kubeling.kube.admission import Find
from kubeling.kube.errors import UNSET, FieldError
from kubeling.kube.objects import Obj, is_condition_true
from kubeling.tuning.algorithm_rules import algorithm_errors
from kubeling.tuning.collector_rules import collector_errors
from kubeling.tuning.space import SpaceError, dimension
from kubeling.tuning.template_rules import template_errors

__all__ = ["experiment_errors"]

_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_LONGEST_NAME: Final = 40
_RESUME_POLICIES: Final = ("Never", "LongRunning", "FromVolume")
_BUDGET: Final = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount")
_FORBIDDEN: Final = {
    "int": ("list",),
    "double": ("list",),
    "categorical": ("min", "max", "step"),
    "discrete": ("min", "max", "step"),
}


def experiment_errors(obj: Obj, old: Obj | None, find: Find | None = None) -> Iterator[FieldError]:
    """Everything wrong with an Experiment, after defaulting; ``find`` reads other objects."""
    spec = obj.get("spec") or {}
    if old is not None:
        yield from _changes(spec, old)
        if spec == (old.get("spec") or {}):
            return
    yield from _name(obj.get("metadata", {}).get("name", ""))
    yield from _counts(spec)
    yield from _objective(spec.get("objective"))
    yield from algorithm_errors(obj)
    yield from _parameters(spec)
    yield from template_errors(spec, find)
    yield from collector_errors(spec)
    if spec.get("resumePolicy") not in _RESUME_POLICIES:
        path = "spec.resumePolicy"
        yield _unsupported(path, spec.get("resumePolicy"), _RESUME_POLICIES)


def _name(name: str) -> Iterator[FieldError]:
    if not name:
        return
    if len(name) > _LONGEST_NAME:
        message = f"must be {_LONGEST_NAME} characters at most, because trials are named after it"
        yield FieldError("metadata.name", "Invalid value", message, name)
    if not _NAME.match(name):
        message = (
            "must begin with a lowercase letter, end with a letter or digit, and hold lowercase "
            "letters, digits and '-' only"
        )
        yield FieldError("metadata.name", "Invalid value", message, name)


def _counts(spec: Obj) -> Iterator[FieldError]:
    most, parallel = spec.get("maxTrialCount"), spec.get("parallelTrialCount")
    failed = spec.get("maxFailedTrialCount")
    for field, value, least in (
        ("maxTrialCount", most, 1),
        ("parallelTrialCount", parallel, 1),
        ("maxFailedTrialCount", failed, 0),
    ):
        if value is not None and value < least:
            message = f"must be {least} or more"
            yield FieldError(f"spec.{field}", "Invalid value", message, value)
    if most is None:
        return
    for field, value in (("parallelTrialCount", parallel), ("maxFailedTrialCount", failed)):
        if value is not None and value > most > 0:
            message = f"must not exceed maxTrialCount ({most})"
            yield FieldError(f"spec.{field}", "Invalid value", message, value)


def _objective(objective: Any) -> Iterator[FieldError]:
    if not isinstance(objective, dict):
        message = "say what to optimise: type (minimize or maximize) and objectiveMetricName"
        yield FieldError("spec.objective", "Required value", message)
        return
    if objective.get("type") not in ("minimize", "maximize"):
        yield _unsupported("spec.objective.type", objective.get("type"), ("minimize", "maximize"))
    metric = objective.get("objectiveMetricName")
    if not metric:
        path = "spec.objective.objectiveMetricName"
        yield FieldError(path, "Required value", "name the metric the trials report")
    elif metric in (objective.get("additionalMetricNames") or ()):
        path = "spec.objective.additionalMetricNames"
        yield FieldError(path, "Invalid value", "must not repeat objectiveMetricName", metric)
    for index, strategy in enumerate(objective.get("metricStrategies") or ()):
        if strategy.get("value") not in ("min", "max", "latest"):
            path = f"spec.objective.metricStrategies[{index}].value"
            yield _unsupported(path, strategy.get("value"), ("latest", "max", "min"))


def _parameters(spec: Obj) -> Iterator[FieldError]:
    parameters = spec.get("parameters")
    if spec.get("nasConfig"):
        if parameters:
            message = "give either parameters or nasConfig"
            yield FieldError("spec.parameters", "Forbidden", message)
        return
    if not parameters:
        message = "list at least one parameter to search over"
        yield FieldError("spec.parameters", "Required value", message)
        return
    names: set[str] = set()
    for index, parameter in enumerate(parameters):
        path = f"spec.parameters[{index}]"
        name = parameter.get("name")
        if not name:
            yield FieldError(f"{path}.name", "Required value", "name the parameter")
        elif name in names:
            yield FieldError(f"{path}.name", "Duplicate value", "", name)
        names.add(str(name))
        yield from _parameter(path, parameter)


def _parameter(path: str, parameter: Obj) -> Iterator[FieldError]:
    kind = parameter.get("parameterType")
    if kind not in _FORBIDDEN:
        yield _unsupported(f"{path}.parameterType", kind, sorted(_FORBIDDEN))
        return
    space = parameter.get("feasibleSpace") or {}
    for field in _FORBIDDEN[kind]:
        if space.get(field):
            message = f"must not be set for a {kind} parameter"
            yield FieldError(f"{path}.feasibleSpace.{field}", "Forbidden", message)
    try:
        dimension({"name": "", **parameter})
    except SpaceError as error:
        where = f"{path}.feasibleSpace.{error.field}"
        missing = error.value is None
        reason = "Required value" if missing else "Invalid value"
        yield FieldError(where, reason, str(error), UNSET if missing else error.value)


def _changes(spec: Obj, old: Obj) -> Iterator[FieldError]:
    before: Mapping[str, Any] = old.get("spec") or {}
    if {k: v for k, v in spec.items() if k not in _BUDGET} != {
        k: v for k, v in before.items() if k not in _BUDGET
    }:
        message = f"only {', '.join(_BUDGET)} may be changed"
        yield FieldError("spec", "Forbidden", message)
    if spec == before:
        return
    if is_condition_true(old, "Failed"):
        yield FieldError("spec", "Forbidden", "a failed experiment cannot be changed")
    elif is_condition_true(old, "Succeeded"):
        yield from _restart(spec, old)


def _restart(spec: Obj, old: Obj) -> Iterator[FieldError]:
    ended = next(
        c for c in (old.get("status") or {}).get("conditions") or () if c.get("type") == "Succeeded"
    )
    if ended.get("reason") != "ExperimentMaxTrialsReached":
        message = "an experiment that reached its goal cannot be changed"
        yield FieldError("spec", "Forbidden", message)
    elif (old.get("spec") or {}).get("resumePolicy") == "Never":
        message = "a finished experiment can be resumed only with LongRunning or FromVolume"
        yield FieldError("spec.resumePolicy", "Forbidden", message)
    else:
        done = (old.get("status") or {}).get("trials") or 0
        most = spec.get("maxTrialCount")
        if most is not None and most <= done:
            message = f"must exceed the {done} trials there are already"
            yield FieldError("spec.maxTrialCount", "Invalid value", message, most)


def _unsupported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    if value in (None, ""):
        return FieldError(path, "Required value", f"one of {', '.join(supported)}")
    listed = ", ".join(f'"{name}"' for name in supported)
    return FieldError(path, "Unsupported value", f"supported values: {listed}", value)
