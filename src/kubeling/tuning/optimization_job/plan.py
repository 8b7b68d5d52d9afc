"""What to do next for an OptimizationJob. Pure.

A trial's number is part of its name, and with the trials before it says what its parameters are:
whoever looks, and however often, makes the same trial.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from kubeling.kube.events import Note, conclude
from kubeling.kube.objects import (
    Obj,
    condition,
    deep_copy,
    is_condition_true,
    name,
    namespace,
    new_object,
)
from kubeling.tuning.algorithms.base import Exhausted, PastTrial, TrialState
from kubeling.tuning.optimization_job.resources import TRAIN_JOBS
from kubeling.tuning.optimization_job.search import algorithm, variable
from kubeling.tuning.space import Assignments

__all__ = ["JOB_LABEL", "Plan", "has_ended", "plan"]

JOB_LABEL: Final = "trainer.kubeflow.org/optimization-job"
_TRIAL: Final = "trainer.kubeflow.org/optimization-trial"
_PARAMETERS: Final = "trainer.kubeflow.org/optimization-parameters"


@dataclass
class Plan:
    """What to do, in this order: create trials, write the status."""

    status: Obj
    create: list[Obj] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A trial that there is, or was."""

    number: int
    state: TrialState
    parameters: Assignments
    value: float | None = None
    name: str = ""
    why: str = ""

    @property
    def past(self) -> PastTrial:
        return PastTrial(self.parameters, self.state, self.value)


def has_ended(job: Obj) -> bool:
    """Whether the search is over."""
    return is_condition_true(job, "Complete") or is_condition_true(job, "Failed")


def plan(job: Obj, train_jobs: Sequence[Obj], now: dt.datetime) -> Plan:
    """What to do about a job with these trials."""
    todo = Plan(status=deep_copy(job.get("status") or {}))
    if has_ended(job):
        return todo
    _conclude(todo, "Created", "OptimizationJobCreated", "OptimizationJob is created", now)
    metric = job["spec"]["objectives"][0]["metric"]
    trials = _trials(train_jobs, metric)
    best = _best(job, trials)
    if best is not None:
        todo.status["result"] = {
            "trainJobName": best.name,
            "parameters": [{"name": k, "value": v} for k, v in best.parameters.items()],
        }
    exhausted = _propose(todo, job, trials)
    running = any(trial.state is TrialState.RUNNING for trial in trials)
    if todo.create or running:
        return todo
    if best is None:
        text = f"no trial completed with the metric {metric}{_reason(trials)}"
        _conclude(todo, "Failed", "NoTrialSucceeded", text, now)
    elif exhausted:
        text = f"all {len(trials)} combinations were tried; the best is {best.name}"
        _conclude(todo, "Complete", "SearchSpaceExhausted", text, now)
    else:
        text = f"{len(trials)} trials have ended; the best is {best.name}"
        _conclude(todo, "Complete", "MaxTrialsReached", text, now)
    return todo


def _propose(todo: Plan, job: Obj, trials: list[_Trial]) -> bool:
    """Adds the trials that may begin; tells whether there are no points left."""
    spec = job["spec"]
    running = sum(trial.state is TrialState.RUNNING for trial in trials)
    left = spec.get("numTrials", 1) - len(trials)
    wanted = min(left, spec.get("parallelTrials", 1) - running)
    if wanted <= 0:
        return False
    search = algorithm(job)
    history = [trial.past for trial in trials]
    for _ in range(wanted):
        try:
            point = search.propose(history).assignments
        except Exhausted:
            return True
        todo.create.append(_train_job(job, len(history), point))
        history.append(PastTrial(point, TrialState.RUNNING))
    return False


def _train_job(job: Obj, number: int, parameters: Assignments) -> Obj:
    template = job["spec"]["trainJobTemplate"]
    metadata, spec = template.get("metadata") or {}, deep_copy(template["spec"])
    trainer = spec.setdefault("trainer", {})
    variables = [{"name": variable(key), "value": value} for key, value in parameters.items()]
    trainer["env"] = [*(trainer.get("env") or ()), *variables]
    own = {_TRIAL: str(number), _PARAMETERS: json.dumps(parameters)}
    return new_object(
        TRAIN_JOBS,
        f"{name(job)}-trial-{number}",
        namespace(job),
        labels={**(metadata.get("labels") or {}), JOB_LABEL: name(job)},
        annotations={**(metadata.get("annotations") or {}), **own},
        owner=job,
        spec=spec,
    )


def _trials(train_jobs: Sequence[Obj], metric: str) -> list[_Trial]:
    """The trials by number; those that somebody deleted count as failed."""
    found = {trial.number: trial for trial in (_trial(obj, metric) for obj in train_jobs)}
    return [
        found.get(number) or _Trial(number, TrialState.FAILED, {}, why="was deleted")
        for number in range(max(found, default=-1) + 1)
    ]


def _trial(train_job: Obj, metric: str) -> _Trial:
    own: dict[str, str] = train_job["metadata"].get("annotations") or {}
    number, parameters = int(own.get(_TRIAL, 0)), json.loads(own.get(_PARAMETERS, "{}"))
    called = name(train_job)
    if is_condition_true(train_job, "Failed"):
        failure = condition(train_job, "Failed")
        why = failure.message if failure else ""
        return _Trial(number, TrialState.FAILED, parameters, name=called, why=why)
    if not is_condition_true(train_job, "Complete"):
        return _Trial(number, TrialState.RUNNING, parameters, name=called)
    value = _value(train_job, metric)
    if value is None:
        why = "reported no such number (kubeflow.trainer's update_trainjob_status does)"
        return _Trial(number, TrialState.FAILED, parameters, name=called, why=why)
    return _Trial(number, TrialState.COMPLETE, parameters, value, called)


def _value(train_job: Obj, metric: str) -> float | None:
    reported = (train_job.get("status") or {}).get("trainerStatus") or {}
    for entry in reported.get("metrics") or ():
        if entry["name"] == metric:
            try:
                value = float(entry["value"])
            except ValueError:
                return None
            return value if math.isfinite(value) else None
    return None


def _best(job: Obj, trials: Sequence[_Trial]) -> _Trial | None:
    """Of equally good trials the first."""
    maximize = job["spec"]["objectives"][0].get("direction") == "Maximize"
    known = [(trial.value, trial) for trial in trials if trial.value is not None]
    ranked = sorted(known, key=lambda pair: -pair[0] if maximize else pair[0])
    return ranked[0][1] if ranked else None


def _reason(trials: Sequence[_Trial]) -> str:
    first = next((trial for trial in trials if trial.why), None)
    return f"; {first.name or f'trial {first.number}'}: {first.why}" if first else ""


def _conclude(todo: Plan, type: str, reason: str, message: str, now: dt.datetime) -> None:
    todo.notes += conclude(todo.status, type, True, reason=reason, message=message, now=now)
