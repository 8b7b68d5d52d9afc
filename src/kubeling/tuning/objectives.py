"""Several objectives and constraints, and which trials none other beats.

Katib has one objective and metrics beside it. The setting ``objectives`` of an algorithm that can
(``gp``, ``auto``, ``nsga2``) names those that count as well, ``constraints`` what must hold of
others: ``latency<=0.1, memory<=512``. Whether a metric should be small or large is what its
strategy (``min`` or ``max``) says. ``nsga2`` is after all of them unless told otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj, name
from kubeling.tuning.metrics import strategy_value
from kubeling.tuning.pareto import front
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = ["Constraint", "Goals", "goal_errors", "goals_of", "pareto_front"]

_CONSTRAINT: Final = re.compile(r"^\s*([\w|/.-]+?)\s*(<=|>=)\s*(\S+)\s*$")
_MEASURED: Final = (TrialPhase.SUCCEEDED, TrialPhase.EARLY_STOPPED)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A metric that must not be above (``sign`` 1) or below (-1) a limit."""

    metric: str
    sign: float
    limit: float


@dataclass(frozen=True, slots=True)
class Goals:
    """What a search is after: metrics with whether less is better, the objective first."""

    objectives: tuple[tuple[str, bool], ...]
    constraints: tuple[Constraint, ...]

    def values(self, objective: Mapping[str, Any], observation: Obj | None) -> tuple[float, ...]:
        """A trial's objectives; none where one is missing."""
        found = [strategy_value(objective, observation, m) for m, _ in self.objectives]
        return () if None in found else tuple(v for v in found if v is not None)

    def violations(
        self, objective: Mapping[str, Any], observation: Obj | None
    ) -> tuple[float, ...]:
        """By how much each constraint is broken; none where a metric is missing."""
        found = [
            None if value is None else constraint.sign * (value - constraint.limit)
            for constraint in self.constraints
            for value in [strategy_value(objective, observation, constraint.metric)]
        ]
        return () if None in found else tuple(v for v in found if v is not None)


def goals_of(spec: Mapping[str, Any]) -> Goals:
    """What an experiment is after; raises :class:`ValueError` for a constraint of another form."""
    objective, settings = spec["objective"], _settings(spec)
    metrics = [objective.get("objectiveMetricName", ""), *_others(spec, settings)]
    strategies = _strategies(objective)
    first = objective.get("type") == "minimize"
    directions = [first, *(strategies.get(m) == "min" for m in metrics[1:])]
    stated = _listed(settings.get("constraints"))
    return Goals(
        tuple(zip(metrics, directions, strict=True)), tuple(_constraint(text) for text in stated)
    )


def goal_errors(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings: pairs of a setting's name and a message."""
    objective, settings = spec["objective"], _settings(spec)
    known, strategies = objective.get("additionalMetricNames") or (), _strategies(objective)
    for metric in _listed(settings.get("objectives")):
        if metric not in known:
            yield "objectives", f"{metric} must be one of objective.additionalMetricNames"
        elif strategies.get(metric) not in ("min", "max"):
            yield "objectives", f"{metric} needs a metricStrategy of min or max"
    for text in _listed(settings.get("constraints")):
        try:
            metric = _constraint(text).metric
        except ValueError as error:
            yield "constraints", str(error)
            continue
        if metric not in (*known, objective.get("objectiveMetricName")):
            yield "constraints", f"{metric} must be one of objective.additionalMetricNames"


def pareto_front(spec: Mapping[str, Any], trials: Sequence[Obj]) -> list[Obj]:
    """The trials that none other beats in all objectives, as ``currentOptimalTrial`` has one."""
    goals = goals_of(spec)
    if len(goals.objectives) == 1:
        return []
    signs = [1.0 if low else -1.0 for _, low in goals.objectives]
    found: list[tuple[list[float], Obj]] = []
    for trial in trials:
        if phase_of(trial) not in _MEASURED:
            continue
        observation = (trial.get("status") or {}).get("observation")
        values = goals.values(spec["objective"], observation)
        broken = goals.violations(spec["objective"], observation)
        if values and len(broken) == len(goals.constraints) and all(b <= 0 for b in broken):
            found.append(([s * v for s, v in zip(signs, values, strict=True)], trial))
    return [
        {
            "bestTrialName": name(trial),
            "parameterAssignments": trial["spec"].get("parameterAssignments") or [],
            "observation": trial["status"]["observation"],
        }
        for _, trial in (found[place] for place in front([figures for figures, _ in found]))
    ]


def _others(spec: Mapping[str, Any], settings: Mapping[str, str]) -> list[str]:
    """The further metrics that count."""
    if "objectives" in settings or _algorithm(spec) != "nsga2":
        return _listed(settings.get("objectives"))
    objective = spec["objective"]
    strategies = _strategies(objective)
    constrained = {_constraint(text).metric for text in _listed(settings.get("constraints"))}
    return [
        metric
        for metric in objective.get("additionalMetricNames") or ()
        if strategies.get(metric) in ("min", "max") and metric not in constrained
    ]


def _constraint(text: str) -> Constraint:
    match = _CONSTRAINT.match(text)
    try:
        if match is None:
            raise ValueError
        return Constraint(match[1], 1.0 if match[2] == "<=" else -1.0, float(match[3]))
    except ValueError:
        message = f'"{text}" must be a metric, <= or >=, and a number: latency<=0.1'
        raise ValueError(message) from None


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _strategies(objective: Mapping[str, Any]) -> dict[str, str]:
    return {s.get("name"): s.get("value") for s in objective.get("metricStrategies") or ()}


def _algorithm(spec: Mapping[str, Any]) -> str:
    return str((spec.get("algorithm") or {}).get("algorithmName") or "")


def _settings(spec: Mapping[str, Any]) -> dict[str, str]:
    stated = (spec.get("algorithm") or {}).get("algorithmSettings") or ()
    return {str(s.get("name")): str(s.get("value")) for s in stated}
