"""An OptimizationJob becomes TrainJobs, one for each trial, and says which was best."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, deep_copy, name
from kubeling.tuning.optimization_job.admission import admissions
from kubeling.tuning.optimization_job.plan import Plan, has_ended, plan
from kubeling.tuning.optimization_job.resources import OPTIMIZATION_JOBS

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CHOICES = {"searchSpace": {"categorical": {"choices": ["16", "32"]}}}
RATE = {"searchSpace": {"logUniform": {"min": "0.001", "max": "0.1"}}}


def job(**spec: Any) -> Obj:
    content: Obj = {
        "objectives": [{"metric": "loss"}],
        "parameters": [{"name": "learning_rate", **deep_copy(RATE)}],
        "numTrials": 3,
        "parallelTrials": 2,
        "trainJobTemplate": {"spec": {"runtimeRef": {"name": "torch-distributed"}}},
        **spec,
    }
    obj: Obj = {
        "apiVersion": OPTIMIZATION_JOBS.api_version,
        "kind": OPTIMIZATION_JOBS.kind,
        "metadata": {"name": "tune", "namespace": "team", "uid": "u"},
        "spec": content,
    }
    default = admissions()[OPTIMIZATION_JOBS].default
    assert default
    default(obj, AdmissionRequest(OPTIMIZATION_JOBS, "CREATE"))
    return obj


def refused(obj: Obj, old: Obj | None = None) -> list[str]:
    validate = admissions()[OPTIMIZATION_JOBS].validate
    assert validate
    request = AdmissionRequest(OPTIMIZATION_JOBS, "UPDATE" if old else "CREATE", old=old)
    return [str(error) for error in validate(obj, old, request)]


def look(obj: Obj, *train_jobs: Obj) -> Plan:
    todo = plan(obj, train_jobs, NOW)
    obj["status"] = todo.status
    return todo


def complete(trial: Obj, value: str | None) -> Obj:
    entry = {"type": "Complete", "status": "True"}
    metrics = [] if value is None else [{"name": "loss", "value": value}]
    status = {"conditions": [entry], "trainerStatus": {"metrics": metrics}}
    return {**trial, "status": status}


def failed(trial: Obj, message: str = "pod failed") -> Obj:
    entry = {"type": "Failed", "status": "True", "message": message}
    return {**trial, "status": {"conditions": [entry]}}


def parameters(trial: Obj) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        trial["metadata"]["annotations"]["trainer.kubeflow.org/optimization-parameters"]
    )
    return found


def test_trials_are_train_jobs_that_find_their_parameters_in_the_environment() -> None:
    trainer = {"image": "mine", "env": [{"name": "A", "value": "1"}]}
    spec = {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer}
    template = {"metadata": {"labels": {"team": "vision"}}, "spec": spec}
    first, second = look(job(trainJobTemplate=template)).create
    assert (name(first), name(second)) == ("tune-trial-0", "tune-trial-1")
    assert first["metadata"]["labels"]["team"] == "vision"
    assert first["metadata"]["ownerReferences"][0]["kind"] == "OptimizationJob"
    (rate,) = parameters(first).values()
    assert first["spec"]["trainer"]["env"] == [
        {"name": "A", "value": "1"},
        {"name": "KUBEFLOW_TRAINER_OPT_LEARNING_RATE", "value": rate},
    ]
    assert 0.001 <= float(rate) <= 0.1
    assert parameters(first) != parameters(second)


def test_whoever_looks_again_makes_the_same_trials() -> None:
    assert look(job()).create == look(job()).create
    seeded = {"random": {"seed": 7}}
    other = job(searchAlgorithm=seeded)
    other["metadata"]["uid"] = "another"
    assert [parameters(t) for t in look(job(searchAlgorithm=seeded)).create] == [
        parameters(t) for t in look(other).create
    ]


def test_no_more_run_at_once_than_wished_and_the_best_is_told_meanwhile() -> None:
    obj = job()
    one, two = look(obj).create
    assert look(obj, one, two).create == []
    (three,) = look(obj, complete(one, "0.5"), two).create
    assert obj["status"]["result"]["trainJobName"] == "tune-trial-0"
    look(obj, complete(one, "0.5"), complete(two, "0.25"), three)
    assert not has_ended(obj)
    look(obj, complete(one, "0.5"), complete(two, "0.25"), complete(three, "0.75"))
    conditions = [(c["type"], c["reason"]) for c in obj["status"]["conditions"]]
    assert conditions == [
        ("Created", "OptimizationJobCreated"),
        ("Complete", "MaxTrialsReached"),
    ]
    result = obj["status"]["result"]
    assert result["trainJobName"] == "tune-trial-1"
    assert result["parameters"] == [{"name": k, "value": v} for k, v in parameters(two).items()]


def test_the_largest_may_be_the_best() -> None:
    obj = job(objectives=[{"metric": "loss", "direction": "Maximize"}], numTrials=2)
    one, two = look(obj).create
    look(obj, complete(one, "0.5"), complete(two, "0.25"))
    assert obj["status"]["result"]["trainJobName"] == "tune-trial-0"


def test_grid_tries_every_combination_once_and_then_ends() -> None:
    grid = [{"name": "a", **deep_copy(CHOICES)}, {"name": "b", **deep_copy(CHOICES)}]
    obj = job(parameters=grid, searchAlgorithm={"grid": {}}, numTrials=9, parallelTrials=9)
    trials = look(obj).create
    assert len({tuple(parameters(trial).values()) for trial in trials}) == len(trials) == 4
    look(obj, *(complete(trial, "1") for trial in trials))
    assert obj["status"]["conditions"][-1]["reason"] == "SearchSpaceExhausted"


@pytest.mark.parametrize("value", [None, "good", "nan", "inf"])
def test_without_any_number_the_search_has_failed_and_says_why(value: str | None) -> None:
    obj = job(numTrials=2)
    one, two = look(obj).create
    look(obj, failed(one, "exit code 1"), complete(two, value))
    condition = obj["status"]["conditions"][-1]
    assert (condition["type"], condition["reason"]) == ("Failed", "NoTrialSucceeded")
    assert "tune-trial-0: exit code 1" in condition["message"]


def test_a_trial_that_somebody_deleted_is_not_made_again() -> None:
    obj = job(numTrials=3, parallelTrials=3)
    one, _, three = look(obj).create
    look(obj, complete(one, "1"), complete(three, "2"))
    assert obj["status"]["conditions"][-1]["reason"] == "MaxTrialsReached"


def test_the_spec_never_changes() -> None:
    assert refused(job(), job()) == []
    assert refused(job(numTrials=9), job())[0].startswith("spec: Forbidden")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"parallelTrials": 9}, "spec.parallelTrials: Invalid value: 9"),
        ({"searchAlgorithm": {"random": {}, "grid": {}}}, "spec.searchAlgorithm: Invalid value"),
        ({"searchAlgorithm": {"grid": {}}}, "spec.parameters[0].searchSpace: Invalid value"),
        (
            {"parameters": [{"name": "a", "searchSpace": {}}]},
            "spec.parameters[0].searchSpace: Invalid value",
        ),
        (
            {"parameters": [{"name": "a.b", **CHOICES}, {"name": "a-b", **CHOICES}]},
            "spec.parameters[1].name: Invalid value",
        ),
        (
            {"parameters": [{"name": "a", "searchSpace": {"uniform": {"min": "1", "max": "1"}}}]},
            "spec.parameters[0].searchSpace.uniform.min: Invalid value",
        ),
        (
            {
                "parameters": [
                    {"name": "a", "searchSpace": {"logUniform": {"min": "0", "max": "1"}}}
                ]
            },
            "spec.parameters[0].searchSpace.logUniform.min: Invalid value",
        ),
        (
            {
                "trainJobTemplate": {
                    "metadata": {"name": "x"},
                    "spec": {"runtimeRef": {"name": "y"}},
                }
            },
            "spec.trainJobTemplate.metadata.name: Forbidden",
        ),
        (
            {"trainJobTemplate": {"spec": {}}},
            "spec.trainJobTemplate.spec.runtimeRef.name: Required value",
        ),
    ],
)
def test_mistakes_are_named_with_their_field(spec: Obj, complaint: str) -> None:
    assert refused(job(**deep_copy(spec)))[0].startswith(complaint)
