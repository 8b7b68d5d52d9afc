"""The study of an OptimizationJob: its trials are TrainJobs, which report the objective. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kubeling.gateway.drawing.plane import number
from kubeling.gateway.kinds import TRAIN_JOBS
from kubeling.gateway.trials.model import Direction, Goal, Study, Trial, count_states
from kubeling.kube.objects import Obj, deletion_requested, name, parse_time, uid

__all__ = ["SEARCH_LABEL", "command_of_train_job", "study_of_search"]

SEARCH_LABEL: Final = "trainer.kubeflow.org/optimization-job"
_NUMBER: Final = "trainer.kubeflow.org/optimization-trial"
_PARAMETERS: Final = "trainer.kubeflow.org/optimization-parameters"
_VARIABLES: Final = "KUBEFLOW_TRAINER_OPT_"
_STATES: Final = {"Complete": "succeeded", "Failed": "failed"}


def study_of_search(job: Obj, train_jobs: Iterable[Obj]) -> Study:
    """The study of an OptimizationJob and its TrainJobs."""
    spec, status = job["spec"], job.get("status") or {}
    goals = [_goal(objective) for objective in spec.get("objectives") or ()]
    trials = [_trial(obj, goals) for obj in train_jobs if not deletion_requested(obj)]
    trials.sort(key=lambda trial: trial.number)
    state, message, _ = _end(job)
    return Study(
        name(job),
        job["metadata"].get("namespace", ""),
        next(iter(spec.get("searchAlgorithm") or {}), ""),
        goals,
        [_parameter(parameter) for parameter in spec.get("parameters") or ()],
        trials,
        spec.get("numTrials"),
        str((status.get("result") or {}).get("trainJobName") or ""),
        state or ("running" if trials else "pending"),
        message,
        count_states(trials),
        TRAIN_JOBS,
    )


def command_of_train_job(train_job: Obj) -> str:
    """A trial's command as one types it; empty where only its runtime knows it."""
    trainer = (train_job.get("spec") or {}).get("trainer") or {}
    words = [str(word) for key in ("command", "args") for word in trainer.get(key) or ()]
    if not words:
        return ""
    variables = [
        f"{entry['name']}={shlex.quote(str(entry.get('value', '')))}"
        for entry in trainer.get("env") or ()
        if str(entry.get("name", "")).startswith(_VARIABLES)
    ]
    return " ".join([*variables, shlex.join(words)])


def _goal(objective: Mapping[str, Any]) -> Goal:
    direction: Direction = "maximize" if objective.get("direction") == "Maximize" else "minimize"
    return Goal(str(objective["metric"]), direction, "latest")


def _parameter(parameter: Mapping[str, Any]) -> Obj:
    """A parameter's space as an Experiment has it."""
    space = parameter.get("searchSpace") or {}
    called = {"name": parameter["name"]}
    if (choices := space.get("categorical")) is not None:
        feasible: Obj = {"list": choices.get("choices") or []}
        return {**called, "parameterType": "categorical", "feasibleSpace": feasible}
    kind = "logUniform" if space.get("logUniform") is not None else "uniform"
    bounds = space.get(kind) or {}
    feasible = {"min": bounds.get("min"), "max": bounds.get("max"), "distribution": kind}
    whole = "int" if bounds.get("type") == "Int" else "double"
    return {**called, "parameterType": whole, "feasibleSpace": feasible}


def _trial(train_job: Obj, goals: Iterable[Goal]) -> Trial:
    own = train_job["metadata"].get("annotations") or {}
    status = train_job.get("status") or {}
    reported = {
        str(entry.get("name")): entry.get("value")
        for entry in (status.get("trainerStatus") or {}).get("metrics") or ()
    }
    values = {goal.metric: number(reported.get(goal.metric)) for goal in goals}
    metrics = {metric: value for metric, value in values.items() if value is not None}
    state, message, finished = _end(train_job)
    if state == "succeeded" and not metrics:
        state, message = "unavailable", f"it reported no {', '.join(values)}"
    jobs = status.get("jobsStatus") or ()
    begun = any(entry.get("active") or entry.get("ready") for entry in jobs)
    return Trial(
        int(number(own.get(_NUMBER)) or 0) + 1,
        name(train_job),
        uid(train_job),
        state or ("running" if begun else "pending"),
        {key: str(value) for key, value in json.loads(own.get(_PARAMETERS) or "{}").items()},
        metrics,
        message,
        _seconds(train_job["metadata"].get("creationTimestamp")),
        _seconds(finished),
    )


def _end(obj: Obj) -> tuple[str, str, str | None]:
    """How it ended, what was said of that, and when; nothing before."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        state = _STATES.get(entry.get("type", ""))
        if state is not None and entry.get("status") == "True":
            return state, str(entry.get("message") or ""), entry.get("lastTransitionTime")
    return "", "", None


def _seconds(moment: str | None) -> float | None:
    return parse_time(moment).timestamp() if moment else None
