"""What a Job does next, decided without a cluster."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.workloads.indexes import format_indexes, parse_indexes
from kubeling.engine.workloads.job_plan import INDEX, plan
from kubeling.kube.objects import Obj, condition, format_time

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def job(**spec: Any) -> Obj:
    content = {"template": {"spec": {"restartPolicy": "Never"}}, "completions": 1, **spec}
    return {
        "metadata": {"name": "work", "namespace": "default", "uid": "u"},
        "spec": content,
        "status": {"startTime": format_time(NOW - dt.timedelta(minutes=5))},
    }


def pod(phase: str = "Running", index: int | None = None, code: int = 0, age: int = 60) -> Obj:
    stamp = format_time(NOW - dt.timedelta(seconds=age))
    ended = {"terminated": {"exitCode": code, "finishedAt": stamp}}
    annotations = {INDEX: str(index)} if index is not None else {}
    return {
        "metadata": {
            "name": f"work-{phase}-{index}-{age}",
            "namespace": "default",
            "annotations": annotations,
            "creationTimestamp": stamp,
        },
        "spec": {},
        "status": {"phase": phase, "containerStatuses": [{"name": "main", "state": ended}]},
    }


def test_no_more_pods_than_work_left() -> None:
    todo = plan(job(completions=5, parallelism=10), [pod("Succeeded")] * 3, NOW)
    assert todo.create == 2


def test_failures_are_followed_by_growing_pauses() -> None:
    todo = plan(job(backoffLimit=6), [pod("Failed", age=5)], NOW)
    assert todo.create == 0
    assert todo.requeue_after == pytest.approx(5)
    todo = plan(job(backoffLimit=6), [pod("Failed", age=30), pod("Failed", age=15)], NOW)
    assert todo.requeue_after == pytest.approx(5)


def test_an_exit_code_may_end_the_job_at_once() -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    todo = plan(job(podFailurePolicy={"rules": [rule]}), [pod("Failed", code=42)], NOW)
    assert condition({"status": todo.status}, "Failed").reason == "PodFailurePolicy"


def test_ignored_failures_do_not_count() -> None:
    rule = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}}
    spec = {"podFailurePolicy": {"rules": [rule]}, "backoffLimit": 0}
    todo = plan(job(**spec), [pod("Failed", code=7, age=30)], NOW)
    assert todo.create == 1


def test_completed_indexes_stay_completed_when_their_pods_are_gone() -> None:
    made = job(completions=3, parallelism=3, completionMode="Indexed")
    made["status"]["completedIndexes"] = "0,2"
    todo = plan(made, [], NOW)
    assert todo.create_at == [1]


def test_an_index_that_fails_too_often_leaves_the_others_running() -> None:
    made = job(completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=0)
    todo = plan(made, [pod("Failed", 0), pod("Running", 1)], NOW)
    assert todo.status["failedIndexes"] == "0"
    assert not todo.create_at
    todo = plan(made, [pod("Failed", 0), pod("Succeeded", 1)], NOW)
    assert condition({"status": todo.status}, "Failed").reason == "FailedIndexes"


def test_a_success_policy_ends_the_job_early() -> None:
    policy = {"rules": [{"succeededIndexes": "0"}]}
    made = job(completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy)
    running = [pod("Succeeded", 0), pod("Running", 1)]
    todo = plan(made, running, NOW)
    assert [p["metadata"]["name"] for p in todo.delete] == [running[1]["metadata"]["name"]]
    assert condition({"status": todo.status}, "SuccessCriteriaMet").status == "True"
    assert condition({"status": todo.status}, "Complete") is None


@given(st.sets(st.integers(0, 60)))
def test_indexes_survive_being_written_and_read(numbers: set[int]) -> None:
    assert set(parse_indexes(format_indexes(numbers))) == numbers
