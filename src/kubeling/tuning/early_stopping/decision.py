"""What early stopping says of one trial, whatever the algorithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.tuning.early_stopping import stoppers
from kubeling.tuning.early_stopping.curves import Curve, curve
from kubeling.tuning.early_stopping.rules import fulfilled, rule
from kubeling.tuning.metrics import Reading

__all__ = ["compares_trials", "gives_rules", "rules_for", "stop_reason"]

_COMPARING: Final = ("asha", "percentile")
_LIVE: Final = (*_COMPARING, "patient")

Spec = Mapping[str, Any]
"""An Experiment's ``spec``."""


def compares_trials(spec: Spec) -> bool:
    """Whether :func:`stop_reason` needs the curves of the experiment's other trials."""
    return _algorithm(spec)[0] in _COMPARING


def gives_rules(spec: Spec) -> bool:
    """Whether :func:`rules_for` needs the curves of the experiment's trials."""
    return _algorithm(spec)[0] == "medianstop"


def rules_for(spec: Spec, curves: Callable[[], Sequence[Curve]]) -> list[Obj]:
    """The rules a trial is given when it is suggested; ``curves`` are those of all trials."""
    _, settings = _algorithm(spec)
    if not gives_rules(spec):
        return []
    objective = spec["objective"]
    found = stoppers.median(curves(), settings)
    if found is None:
        return []
    value, start = found
    metric, minimize = objective["objectiveMetricName"], _minimizes(objective)
    return [rule(metric, value, minimize, start)]


def stop_reason(
    spec: Spec,
    rules: Sequence[Obj],
    readings: Sequence[Reading],
    others: Sequence[Curve] = (),
    *,
    asked: int = 0,
) -> str | None:
    """Why a running trial should stop now; ``None`` lets it go on.

    ``readings`` are all it has reported so far, in order, and ``asked`` is how many of them an
    earlier question was about: every step since is judged. ``rules`` are those of the trial's
    spec; ``others`` are the curves of the experiment's other trials, where
    :func:`compares_trials`.
    """
    objective = spec["objective"]
    if _algorithm(spec)[0] not in _LIVE:
        return fulfilled(rules, objective, readings) or None
    metric = objective["objectiveMetricName"]
    own = curve(readings, metric)
    for step in range(len(curve(readings[:asked], metric).values) + 1, len(own.values) + 1):
        if reason := _judged(spec, own, step, others):
            return reason
    return None


def _judged(spec: Spec, own: Curve, step: int, others: Sequence[Curve]) -> str | None:
    name, settings = _algorithm(spec)
    minimize = _minimizes(spec["objective"])
    match name:
        case "asha":
            return stoppers.asha(own, step, others, settings, minimize)
        case "percentile":
            return stoppers.percentile(own, step, others, settings, minimize)
        case _:
            return stoppers.patient(own, step, settings, minimize)


def _minimizes(objective: Mapping[str, Any]) -> bool:
    return objective.get("type") == "minimize"


def _algorithm(spec: Spec) -> tuple[str, dict[str, str]]:
    early = spec.get("earlyStopping") or {}
    settings = {s.get("name"): s.get("value") for s in early.get("algorithmSettings") or ()}
    return str(early.get("algorithmName") or ""), settings
