"""A study: an experiment's space, what it is after, and its trials in order. Pure.

Katib has one objective; metrics beside it count as objectives of their own where a strategy says
which of their values is best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from kubeling.gateway.drawing.plane import Scale, number
from kubeling.gateway.kinds import TRIALS
from kubeling.kube.objects import Obj, deletion_requested, name, parse_time, uid
from kubeling.kube.resources import Resource

__all__ = ["Direction", "Goal", "Study", "Trial", "count_states", "study_of"]

Direction = Literal["minimize", "maximize"]
_STATES: Final = {
    "Failed": "failed",
    "Killed": "canceled",
    "MetricsUnavailable": "unavailable",
    "EarlyStopped": "stopped",
    "Succeeded": "succeeded",
    "Running": "running",
}
"""By condition, the most decisive first."""
_FINAL: Final = ("failed", "canceled", "unavailable", "stopped", "succeeded")
_MEASURED: Final = ("succeeded", "stopped")


@dataclass(frozen=True, slots=True)
class Goal:
    """A metric, which way it is better, and which of its values counts."""

    metric: str
    direction: Direction
    strategy: str

    def better(self, one: float, other: float) -> bool:
        return one < other if self.direction == "minimize" else one > other

    def best(self, values: Iterable[float]) -> float | None:
        return (min if self.direction == "minimize" else max)(values, default=None)


@dataclass(frozen=True, slots=True)
class Trial:
    """A point that was, or is being, tried."""

    number: int
    name: str
    uid: str
    state: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    message: str = ""
    started: float | None = None
    finished: float | None = None

    @property
    def final(self) -> bool:
        return self.state in _FINAL

    @property
    def measured(self) -> bool:
        """Whether its metrics count for the search."""
        return self.state in _MEASURED


@dataclass(frozen=True)
class Study:
    """All of it; trials in the order in which they were made."""

    name: str
    namespace: str
    algorithm: str
    goals: Sequence[Goal]
    parameters: Sequence[Obj]
    trials: Sequence[Trial]
    most: int | None = None
    best_name: str = ""
    state: str = ""
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    trial_kind: Resource = TRIALS

    @property
    def goal(self) -> Goal:
        """The objective."""
        return self.goals[0]

    @property
    def final(self) -> bool:
        return self.state in ("succeeded", "failed")

    @cached_property
    def names(self) -> list[str]:
        """The parameters' names."""
        return [str(parameter["name"]) for parameter in self.parameters]

    @cached_property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return next((trial for trial in self.trials if trial.name == self.best_name), None)

    @cached_property
    def measured(self) -> list[Trial]:
        """The trials with a value of the objective that counts."""
        return [t for t in self.trials if t.measured and self.goal.metric in t.metrics]

    def trial(self, name: str) -> Trial | None:
        return next((trial for trial in self.trials if trial.name == name), None)

    def scale(self, parameter: str) -> Scale:
        """The scale of a parameter: its whole range, not only what was tried."""
        found = next((p for p in self.parameters if p["name"] == parameter), {})
        space = found.get("feasibleSpace") or {}
        if values := space.get("list"):
            return Scale.of_categories([str(value) for value in values])
        low, high = number(space.get("min")), number(space.get("max"))
        if low is None or high is None:
            return Scale()
        log = space.get("distribution") in ("logUniform", "logNormal") and low > 0
        return Scale(low, high, log=log, whole=found.get("parameterType") == "int")


def study_of(experiment: Obj, trials: Iterable[Obj]) -> Study:
    """The study of an Experiment and its Trials."""
    spec, status = experiment["spec"], experiment.get("status") or {}
    goals = _goals(spec.get("objective") or {})
    living = [trial for trial in trials if not deletion_requested(trial)]
    living.sort(key=lambda t: (str(t["metadata"].get("creationTimestamp")), name(t)))
    found = [_trial(place, trial, goals) for place, trial in enumerate(living, 1)]
    state, message = _state(experiment)
    return Study(
        name(experiment),
        experiment["metadata"].get("namespace", ""),
        str((spec.get("algorithm") or {}).get("algorithmName", "")),
        goals,
        spec.get("parameters") or [],
        found,
        spec.get("maxTrialCount"),
        str((status.get("currentOptimalTrial") or {}).get("bestTrialName") or ""),
        state,
        message,
        count_states(found),
    )


def count_states(trials: Iterable[Trial]) -> dict[str, int]:
    """How many trials are in each state, in the order in which the states are met."""
    return dict(Counter(trial.state for trial in trials))


def _goals(objective: Mapping[str, Any]) -> list[Goal]:
    direction: Direction = "minimize" if objective.get("type") == "minimize" else "maximize"
    strategies = {s.get("name"): s.get("value") for s in objective.get("metricStrategies") or ()}
    main = str(objective.get("objectiveMetricName") or "")
    goals = [Goal(main, direction, str(strategies.get(main) or "latest"))]
    for metric in objective.get("additionalMetricNames") or ():
        strategy = str(strategies.get(metric) or "latest")
        ways: dict[str, Direction] = {"min": "minimize", "max": "maximize"}
        goals.append(Goal(str(metric), ways.get(strategy, direction), strategy))
    return goals


def _trial(place: int, trial: Obj, goals: Sequence[Goal]) -> Trial:
    status = trial.get("status") or {}
    state, message = _state_of_trial(status)
    observed = {
        entry.get("name"): entry for entry in (status.get("observation") or {}).get("metrics") or ()
    }
    metrics: dict[str, float] = {}
    for goal in goals:
        entry = observed.get(goal.metric) or {}
        value = number(entry.get(goal.strategy, entry.get("latest")))
        if value is not None:
            metrics[goal.metric] = value
    return Trial(
        place,
        name(trial),
        uid(trial),
        state,
        {p["name"]: str(p["value"]) for p in trial["spec"].get("parameterAssignments") or ()},
        metrics,
        message,
        _seconds(status.get("startTime")),
        _seconds(status.get("completionTime")),
    )


def _state_of_trial(status: Mapping[str, Any]) -> tuple[str, str]:
    conditions = {
        c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"
    }
    for kind, state in _STATES.items():
        if kind in conditions:
            return state, str(conditions[kind].get("message") or "")
    return "pending", ""


def _state(experiment: Obj) -> tuple[str, str]:
    conditions = {
        c.get("type"): c
        for c in (experiment.get("status") or {}).get("conditions") or ()
        if c.get("status") == "True"
    }
    for kind in ("Failed", "Succeeded", "Running"):
        if kind in conditions:
            return kind.lower(), str(conditions[kind].get("message") or "")
    return "pending", ""


def _seconds(moment: Any) -> float | None:
    return parse_time(str(moment)).timestamp() if moment else None
