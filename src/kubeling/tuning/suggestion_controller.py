"""Reconciling suggestions: propose points until there are as many as asked for.

A point gets the name of its trial here and is written down before anyone creates the trial, so a
crash in between creates that trial later instead of another one.
"""

from __future__ import annotations

from typing import Final

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
    namespace,
    remove_condition,
    set_condition,
    uid,
)
from kubeling.kube.objects import annotations as annotations_of
from kubeling.tuning.experiment_status import END_REACHED, has_ended
from kubeling.tuning.extensions import SUGGESTION_SERVICE, earlier_experiments
from kubeling.tuning.history import trimmed
from kubeling.tuning.proposals import Asked, InProcess, Proposer, ServiceUnavailable
from kubeling.tuning.resources import EXPERIMENTS, SUGGESTIONS, TRIALS
from kubeling.tuning.store import observation_store
from kubeling.tuning.trial_changes import TrialChanges

__all__ = ["SuggestionReconciler", "suggestion_controller"]

_RETRY_SECONDS: Final = 3.0


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
        self._store = observation_store(context)
        self._changes = TrialChanges(self._trials)
        self._proposers: dict[Key, tuple[str, str, Proposer]] = {}

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one suggestion."""
        suggestion, experiment = self._suggestions.get(*key), self._experiments.get(*key)
        if suggestion is None or experiment is None or deletion_requested(suggestion):
            self._dismiss(key)
            return None
        if (controller_of(suggestion) or {}).get("uid") != uid(experiment):
            return None
        if is_condition_true(suggestion, "Failed"):
            self._dismiss(key)
            return None
        status: Obj = deep_copy(suggestion.get("status") or {})
        status.setdefault("startTime", format_time(self._clock.now()))
        result = await self._advance(suggestion, experiment, status)
        if status != (suggestion.get("status") or {}):
            status["lastReconcileTime"] = format_time(self._clock.now())
            await self._client.replace_status(SUGGESTIONS, {**suggestion, "status": status})
        return result

    async def _advance(self, suggestion: Obj, experiment: Obj, status: Obj) -> Result | None:
        """Brings a status to where it should be."""
        self._condition(status, "Created", True, "SuggestionCreated", "Suggestion is created")
        if has_ended(experiment):
            self._conclude(suggestion, status)
            return None
        try:
            await self._supply(suggestion, experiment, status)
        except ServiceUnavailable as error:
            self._condition(status, "DeploymentReady", False, "DeploymentNotReady", str(error))
            return Result(requeue_after=_RETRY_SECONDS)
        except (ArithmeticError, ImportError, ValueError, RuntimeError) as error:
            text = f"{suggestion['spec']['algorithm']['algorithmName']}: {error}"
            self._condition(status, "Failed", True, "SuggestionFailed", text)
            await self._recorder.warning(suggestion, "SuggestionFailed", text)
        return None

    async def _supply(self, suggestion: Obj, experiment: Obj, status: Obj) -> None:
        """Adds the points that are missing."""
        asked = Asked(
            experiment,
            {**suggestion, "status": status},
            lambda: self._trials.owned_by(uid(experiment)),
            status.setdefault("suggestions", []),
            lambda: self._changes.take(uid(experiment)),
            self._earlier(experiment),
        )
        proposer = self._proposer(suggestion, experiment)

        trials, where = self._trials.keys("controller", uid(experiment)), namespace(experiment)

        def has_trial(point: str) -> bool:
            return Key(where, point) in trials

        count = len(trials) + sum(not has_trial(point["name"]) for point in asked.points)
        if not is_condition_true({"status": status}, "DeploymentReady"):
            await proposer.check(asked)
            local = isinstance(proposer, InProcess)
            ready = "The algorithm runs in process" if local else "The suggestion service answers"
            self._condition(status, "DeploymentReady", True, "DeploymentReady", ready)
        missing = int(suggestion["spec"].get("requests") or 0) - count
        if missing > 0:
            found = await proposer.propose(asked, missing)
            asked.points.extend(found.points)
            count += len(found.points)
            if found.settings is not None:
                status["algorithmSettings"] = found.settings
            remove_condition(status, ["Succeeded"])
            if found.ended:
                text = "there are no points left"
                self._condition(status, "Succeeded", True, END_REACHED, text)
        status["suggestions"] = trimmed(asked.points, has_trial)
        status["suggestionCount"] = count
        running = not is_condition_true({"status": status}, "Succeeded")
        self._condition(status, "Running", running, "SuggestionRunning", "Suggestion is running")

    def _proposer(self, suggestion: Obj, experiment: Obj) -> Proposer:
        key, of = key_of(suggestion), (uid(suggestion), uid(experiment))
        if (known := self._proposers.get(key)) is not None and known[:2] == of:
            return known[2]
        self._dismiss(key)
        address = annotations_of(experiment).get(SUGGESTION_SERVICE)
        made = _remote(address) if address else InProcess(self._store)
        self._proposers[key] = (*of, made)
        return made

    def _dismiss(self, key: Key) -> None:
        """Lets go of what proposed a suggestion's points."""
        if (known := self._proposers.pop(key, None)) is not None:
            self._changes.forget(known[1])

    def _earlier(self, experiment: Obj) -> list[tuple[Obj, list[Obj]]]:
        """The experiments to learn from, with their trials."""
        found = []
        for named in earlier_experiments(experiment):
            earlier = self._experiments.get(namespace(experiment), named)
            if earlier is None:
                text = f"there is no Experiment {named} in {namespace(experiment)} to learn from"
                raise ValueError(text)
            _check_metric(experiment, earlier)
            found.append((earlier, self._trials.owned_by(uid(earlier))))
        return found

    def _conclude(self, suggestion: Obj, status: Obj) -> None:
        """At the experiment's end the algorithm rests, unless it is to stay for more."""
        self._dismiss(key_of(suggestion))
        if suggestion["spec"].get("resumePolicy") == "LongRunning":
            return
        text = "Suggestion is succeeded, the experiment has ended"
        for type_ in ("Running", "DeploymentReady"):
            self._condition(status, type_, False, "SuggestionSucceeded", text)
        if not is_condition_true({"status": status}, "Succeeded"):
            self._condition(status, "Succeeded", True, "SuggestionSucceeded", text)
            status["completionTime"] = format_time(self._clock.now())

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


def _check_metric(experiment: Obj, earlier: Obj) -> None:
    """Refuses to learn from what never measured the objective: nothing would come of it."""
    wanted = experiment["spec"]["objective"]["objectiveMetricName"]
    objective = earlier["spec"]["objective"]
    measured = [objective["objectiveMetricName"], *(objective.get("additionalMetricNames") or ())]
    if wanted not in measured:
        raise ValueError(
            f"there is nothing to learn about {wanted} from Experiment {name(earlier)}, "
            f"whose trials measured {', '.join(measured)}"
        )


def _remote(address: str) -> Proposer:
    from kubeling.tuning.remote import Remote

    return Remote(address)
