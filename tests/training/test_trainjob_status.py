"""What a TrainJob says of itself, from its JobSet and its pods."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.training.trainjobs import jobset, train_job

from kubeling.kube.objects import Obj
from kubeling.training.trainer.status import has_ended, refused_status, status_of

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
STAMP = "2026-01-01T00:00:00Z"


def ended(obj: Obj, condition: str, message: str = "") -> Obj:
    entry = {"type": condition, "status": "True", "reason": "Why", "message": message}
    return {**jobset(obj), "status": {"conditions": [entry]}}


def pod(phase: str, job: str = "node") -> Obj:
    labels = {"jobset.sigs.k8s.io/replicatedjob-name": job}
    return {"metadata": {"name": "p", "labels": labels}, "status": {"phase": phase}}


def test_there_is_no_condition_before_the_end() -> None:
    obj = train_job()
    counts = [{"name": "node", "ready": 1, "succeeded": 0, "failed": 0, "active": 1}]
    running = {**jobset(obj), "status": {"replicatedJobsStatus": counts}}
    status = status_of(obj, running, [pod("Running")], NOW)
    assert "conditions" not in status
    assert status["jobsStatus"] == counts


@pytest.mark.parametrize(
    ("pods", "phase"),
    [
        ([], "Created"),
        ([pod("Succeeded", "dataset-initializer")], "Created"),
        ([pod("Running"), pod("Pending")], "Created"),
        ([pod("Running"), pod("Succeeded")], "Running"),
        ([pod("Running", "launcher")], "Running"),
    ],
)
def test_a_job_runs_when_every_node_does(pods: list[Obj], phase: str) -> None:
    assert status_of(train_job(), None, pods, NOW)["phase"] == phase


@pytest.mark.parametrize(("of", "train"), [("Completed", "Complete"), ("Failed", "Failed")])
def test_the_end_of_the_jobset_is_the_end_of_the_train_job(of: str, train: str) -> None:
    obj = train_job()
    status = status_of(obj, ended(obj, of, "in its words"), [], NOW)
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == (train, "True")
    assert (condition["reason"], condition["message"]) == ("Why", "in its words")
    assert status["phase"] == train
    assert has_ended({**obj, "status": status})


def test_a_deadline_counts_from_the_start() -> None:
    obj = train_job(activeDeadlineSeconds=60)
    assert "conditions" not in status_of(obj, None, [], NOW)
    late = status_of(obj, None, [], NOW + dt.timedelta(seconds=60))
    assert late["conditions"][0]["reason"] == "DeadlineExceeded"


def test_a_deadline_counts_anew_after_a_suspension() -> None:
    obj = train_job(activeDeadlineSeconds=60, suspend=True)
    obj["status"] = status_of(obj, None, [], NOW)
    obj["spec"]["suspend"] = False
    later = NOW + dt.timedelta(seconds=90)
    obj["status"] = status_of(obj, None, [], later)
    assert not has_ended(obj)
    assert has_ended({"status": status_of(obj, None, [], later + dt.timedelta(seconds=60))})


def test_what_is_done_in_time_is_not_late() -> None:
    obj = train_job(activeDeadlineSeconds=60)
    status = status_of(obj, ended(obj, "Completed"), [], NOW + dt.timedelta(seconds=61))
    assert [c["type"] for c in status["conditions"]] == ["Complete"]


def test_suspending_shows_and_resuming_too() -> None:
    obj = train_job(suspend=True)
    status = status_of(obj, None, [], NOW)
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Suspended", "True")]
    assert status["phase"] == "Suspended"
    obj["spec"]["suspend"] = False
    resumed = status_of({**obj, "status": status}, None, [], NOW)
    assert [(c["type"], c["status"]) for c in resumed["conditions"]] == [("Suspended", "False")]


def test_a_missing_runtime_is_no_end() -> None:
    obj = train_job()
    obj["status"] = refused_status(obj, "no such runtime", NOW)
    assert not has_ended(obj)
    assert "conditions" not in status_of(obj, None, [], NOW)


def test_reported_progress_is_kept() -> None:
    obj = train_job()
    obj["status"] = {"trainerStatus": {"lastUpdatedTime": STAMP, "progressPercentage": 42}}
    obj["status"] = status_of(obj, ended(obj, "Completed"), [], NOW)
    assert obj["status"]["trainerStatus"]["progressPercentage"] == 42
