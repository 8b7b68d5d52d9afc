"""What is known of an experiment's points, in the order they were proposed.

A point is written to the Suggestion before its trial is created, and lives in its trial from then
on; its place in the order is a label of both. So the Suggestion need not keep what has a trial,
however many there are, and nothing else is needed to go on after a restart.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from kubeling.kube.objects import Obj, labels, name
from kubeling.tuning.algorithms import PastTrial, TrialState
from kubeling.tuning.metrics import strategy_value
from kubeling.tuning.objectives import Goals, goals_of
from kubeling.tuning.space import Assignments
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = [
    "INDEX",
    "WINDOW",
    "History",
    "Remembered",
    "known_count",
    "next_index",
    "numbered",
    "trimmed",
]

INDEX: Final = "suggestion.kubeling.io/index"
WINDOW: Final = 200
"""How many points a Suggestion keeps for people to look at."""


class Remembered:
    """Past trials by name, read again only where the trial has changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, PastTrial]] = {}

    def past(
        self, spec: Mapping[str, Any], points: Sequence[Obj], trials: Iterable[Obj]
    ) -> list[PastTrial]:
        """All points ever proposed that are known of, in order."""
        goals = goals_of(spec)
        found: list[tuple[int, PastTrial]] = []
        named = {}
        for trial in trials:
            named[name(trial)] = trial
            found.append((_place(labels(trial)), self.of_trial(spec, goals, trial)))
        for place, point in enumerate(points):
            if point["name"] not in named:
                index = _place(point.get("labels") or {}, place)
                found.append((index, _running(point)))
        found.sort(key=lambda entry: (entry[0], entry[1].name))
        return [past for _, past in found]

    def of_trial(self, spec: Mapping[str, Any], goals: Goals, trial: Obj) -> PastTrial:
        """A trial as an algorithm sees it."""
        version = str(trial["metadata"].get("resourceVersion", ""))
        known = self._known.get(name(trial))
        if known is not None and known[0] == version and version:
            return known[1]
        past = _past(spec["objective"], goals, trial)
        self._known[name(trial)] = version, past
        return past


class History:
    """The past trials of one experiment in order; one that changed is put into its place."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, str]] = {}
        self._order: list[tuple[int, str]] = []
        self._past: list[PastTrial] = []

    @property
    def names(self) -> Collection[str]:
        """The trials that are known."""
        return self._places.keys()

    def update(self, spec: Mapping[str, Any], changes: Mapping[str, Obj | None]) -> None:
        """Takes in trials by name; nothing for one that is gone."""
        goals = goals_of(spec)
        for trial_name, trial in changes.items():
            self._remove(trial_name)
            if trial is not None:
                place = _place(labels(trial)), trial_name
                at = bisect_left(self._order, place)
                self._places[trial_name] = place
                self._order.insert(at, place)
                self._past.insert(at, _past(spec["objective"], goals, trial))

    def past(self, points: Sequence[Obj]) -> list[PastTrial]:
        """All points ever proposed that are known of, in order."""
        order, past = self._order, list(self._past)
        without = [(at, p) for at, p in enumerate(points) if p["name"] not in self._places]
        if without:
            order = list(order)
        for at, point in without:
            place = _place(point.get("labels") or {}, at), point["name"]
            past.insert(bisect_left(order, place), _running(point))
            insort(order, place)
        return past

    def next_index(self, points: Sequence[Obj]) -> int:
        """The place in the order that comes after all others."""
        last = self._order[-1][0] if self._order else -1
        return max(last, next_index(points, ()) - 1) + 1

    def _remove(self, trial_name: str) -> None:
        place = self._places.pop(trial_name, None)
        if place is not None:
            at = bisect_left(self._order, place)
            del self._order[at], self._past[at]


def known_count(points: Sequence[Obj], trials: Iterable[Obj]) -> int:
    """How many points were proposed that are known of."""
    return len({name(trial) for trial in trials} | {point["name"] for point in points})


def next_index(points: Sequence[Obj], trials: Iterable[Obj]) -> int:
    """The place in the order that comes after all others."""
    places = [_place(labels(trial), -1) for trial in trials]
    places += [_place(point.get("labels") or {}, at) for at, point in enumerate(points)]
    return max(places, default=-1) + 1


def numbered(point: Obj, index: int) -> Obj:
    """A point with its place in the order."""
    return {**point, "labels": {**(point.get("labels") or {}), INDEX: str(index)}}


def trimmed(points: Sequence[Obj], has_trial: Callable[[str], bool]) -> list[Obj]:
    """The points a Suggestion has to keep: those without a trial, and the latest."""
    excess = len(points) - WINDOW
    return [p for place, p in enumerate(points) if place >= excess or not has_trial(p["name"])]


def _past(objective: Mapping[str, Any], goals: Goals, trial: Obj) -> PastTrial:
    assignments = _assignments(trial["spec"])
    state, value = TrialState.FAILED, None
    observation = (trial.get("status") or {}).get("observation")
    match phase_of(trial):
        case TrialPhase.PENDING | TrialPhase.RUNNING:
            state = TrialState.RUNNING
        case TrialPhase.SUCCEEDED | TrialPhase.EARLY_STOPPED:
            value = strategy_value(objective, observation)
            state = TrialState.FAILED if value is None else TrialState.COMPLETE
        case _:
            pass
    return PastTrial(
        assignments,
        state,
        value,
        goals.values(objective, observation) if value is not None else (),
        goals.violations(objective, observation) if value is not None else (),
        name(trial),
        labels(trial),
    )


def _running(point: Obj) -> PastTrial:
    return PastTrial(
        _assignments(point),
        TrialState.RUNNING,
        name=point["name"],
        labels=point.get("labels") or {},
    )


def _assignments(holder: Obj) -> Assignments:
    return {entry["name"]: entry["value"] for entry in holder.get("parameterAssignments") or ()}


def _place(found: Mapping[str, str], otherwise: int = 0) -> int:
    text = found.get(INDEX, "")
    return int(text) if text.isdigit() else otherwise
