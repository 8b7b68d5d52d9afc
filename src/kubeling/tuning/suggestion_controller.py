"""Reconciling suggestions: propose points until there are as many as asked for.

A point gets the name of its trial here and is written down before anyone creates the trial, so a
crash in between creates that trial later instead of another one.
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import Sequence
from typing import Final

import msgspec

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deep_copy,
    deletion_requested,
    format_time,
    is_condition_true,
    key_of,
    name,
    remove_condition,
    set_condition,
    uid,
)
from kubeling.tuning.algorithms import Algorithm, Exhausted, PastTrial, TrialState, create
from kubeling.tuning.algorithms.base import Search
from kubeling.tuning.experiment_status import END_REACHED, has_ended
from kubeling.tuning.metrics import strategy_value
from kubeling.tuning.resources import EXPERIMENTS, SUGGESTIONS, TRIALS
from kubeling.tuning.resources import Algorithm as AlgorithmSpec
from kubeling.tuning.space import Assignments, dimensions
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = ["SuggestionReconciler", "suggestion_controller"]

_ALPHABET: Final = string.ascii_lowercase + string.digits
_SUFFIX: Final = 8


def suggestion_controller(context: Context) -> Controller:
    """The controller of suggestions."""
    return Controller(
        name="suggestion-controller",
        resource=SUGGESTIONS,
        reconcile=SuggestionReconciler(context).reconcile,
        watches={EXPERIMENTS: lambda experiment: (key_of(experiment),)},
        workers=2,
    )


class SuggestionReconciler:
    """Keeps suggestions supplied with points."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("suggestion-controller")
        self._experiments = context.informers.of(EXPERIMENTS)
        self._suggestions = context.informers.of(SUGGESTIONS)
        self._trials = context.informers.of(TRIALS)

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one suggestion."""
        suggestion, experiment = self._suggestions.get(*key), self._experiments.get(*key)
        if suggestion is None or experiment is None or deletion_requested(suggestion):
            return None
        if (controller_of(suggestion) or {}).get("uid") != uid(experiment):
            return None
        if is_condition_true(suggestion, "Failed"):
            return None
        status = await self._status(suggestion, experiment)
        if status != (suggestion.get("status") or {}):
            status["lastReconcileTime"] = format_time(self._clock.now())
            await self._client.replace_status(SUGGESTIONS, {**suggestion, "status": status})
        return None

    async def _status(self, suggestion: Obj, experiment: Obj) -> Obj:
        status: Obj = deep_copy(suggestion.get("status") or {})
        status.setdefault("startTime", format_time(self._clock.now()))
        self._condition(status, "Created", True, "SuggestionCreated", "Suggestion is created")
        if has_ended(experiment):
            self._conclude(suggestion, status)
            return status
        ready = "The algorithm runs in process"
        self._condition(status, "DeploymentReady", True, "DeploymentReady", ready)
        points = status.setdefault("suggestions", [])
        missing = int(suggestion["spec"].get("requests") or 0) - len(points)
        if missing > 0:
            try:
                await self._propose(suggestion, experiment, points, missing)
                remove_condition(status, ["Succeeded"])
            except Exhausted:
                text = "there are no points left"
                self._condition(status, "Succeeded", True, END_REACHED, text)
            except (ArithmeticError, ImportError, ValueError, RuntimeError) as error:
                text = f"{suggestion['spec']['algorithm']['algorithmName']}: {error}"
                self._condition(status, "Failed", True, "SuggestionFailed", text)
                await self._recorder.warning(suggestion, "SuggestionFailed", text)
                return status
        status["suggestionCount"] = len(points)
        running = not is_condition_true({"status": status}, "Succeeded")
        self._condition(status, "Running", running, "SuggestionRunning", "Suggestion is running")
        return status

    def _conclude(self, suggestion: Obj, status: Obj) -> None:
        """At the experiment's end the algorithm rests, unless it is to stay for more."""
        if suggestion["spec"].get("resumePolicy") == "LongRunning":
            return
        text = "Suggestion is succeeded, the experiment has ended"
        for type_ in ("Running", "DeploymentReady"):
            self._condition(status, type_, False, "SuggestionSucceeded", text)
        if not is_condition_true({"status": status}, "Succeeded"):
            self._condition(status, "Succeeded", True, "SuggestionSucceeded", text)
            status["completionTime"] = format_time(self._clock.now())

    async def _propose(
        self, suggestion: Obj, experiment: Obj, points: list[Obj], missing: int
    ) -> None:
        """Appends the missing points, each known to the next as under way."""
        history = self._history(experiment, points)
        algorithm = await _algorithm(suggestion, experiment)
        for _ in range(missing):
            if algorithm.heavy:
                assignments = await asyncio.to_thread(algorithm.suggest, list(history))
            else:
                assignments = algorithm.suggest(history)
            history.append(PastTrial(assignments, TrialState.RUNNING))
            points.append(_point(experiment, assignments, points))

    def _history(self, experiment: Obj, points: Sequence[Obj]) -> list[PastTrial]:
        """Every proposed point with what became of it."""
        trials = {name(trial): trial for trial in self._trials.owned_by(uid(experiment))}
        objective = experiment["spec"]["objective"]
        return [_past(point, trials.get(point["name"]), objective) for point in points]

    def _condition(self, status: Obj, type_: str, value: bool, reason: str, message: str) -> None:
        set_condition(
            status,
            type_,
            value,
            reason=reason,
            message=message,
            now=self._clock.now(),
            to_end=True,
            stamp_update=True,
        )


async def _algorithm(suggestion: Obj, experiment: Obj) -> Algorithm:
    """The experiment's algorithm; what it imports is loaded off the event loop."""
    spec = msgspec.convert(suggestion["spec"]["algorithm"], AlgorithmSpec, strict=False)
    settings = spec.settings()
    search = Search(
        space=tuple(dimensions(experiment["spec"]["parameters"])),
        minimize=experiment["spec"]["objective"]["type"] == "minimize",
        settings=settings,
        seed=settings.get("random_state") or uid(experiment),
    )
    return await asyncio.to_thread(create, spec.algorithm_name, search)


def _past(point: Obj, trial: Obj | None, objective: Obj) -> PastTrial:
    assignments: Assignments = {
        entry["name"]: entry["value"] for entry in point.get("parameterAssignments") or ()
    }
    if trial is None:
        return PastTrial(assignments, TrialState.RUNNING)
    match phase_of(trial):
        case TrialPhase.PENDING | TrialPhase.RUNNING:
            return PastTrial(assignments, TrialState.RUNNING)
        case TrialPhase.SUCCEEDED | TrialPhase.EARLY_STOPPED:
            value = strategy_value(objective, (trial.get("status") or {}).get("observation"))
            if value is not None:
                return PastTrial(assignments, TrialState.COMPLETE, value)
    return PastTrial(assignments, TrialState.FAILED)


def _point(experiment: Obj, assignments: Assignments, points: Sequence[Obj]) -> Obj:
    taken = {point["name"] for point in points}
    while True:
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))
        chosen = f"{name(experiment)}-{suffix}"
        if chosen not in taken:
            break
    return {
        "name": chosen,
        "parameterAssignments": [
            {"name": key, "value": value} for key, value in assignments.items()
        ],
    }
