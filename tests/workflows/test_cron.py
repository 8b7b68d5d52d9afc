"""When CronWorkflows start what, and what they keep."""

from __future__ import annotations

import datetime as dt

import pytest

from kubeling.kube.objects import Obj
from kubeling.workflows.cron import plan

SIX = dt.datetime(2026, 1, 2, 6, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def cron(status: Obj | None = None, **spec: object) -> Obj:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {
            "name": "daily",
            "namespace": "ns",
            "uid": "c1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"schedules": ["0 6 * * *"], "workflowSpec": {"entrypoint": "x"}, **spec},
        "status": status or {},
    }


def ran(number: int, phase: str) -> Obj:
    return {
        "metadata": {"name": f"daily-{number}", "namespace": "ns", "uid": str(number)},
        "status": {"phase": phase, "finishedAt": f"2026-01-01T00:00:{number:02}Z"},
    }


def test_at_its_time_a_workflow_named_after_it_is_made() -> None:
    done = plan(cron(), [], SIX + SECOND)
    assert done.create is not None
    assert done.create["metadata"]["name"] == f"daily-{int(SIX.timestamp())}"
    assert done.create["metadata"]["labels"] == {"workflows.argoproj.io/cron-workflow": "daily"}
    assert done.create["spec"] == {"entrypoint": "x"}
    assert done.status["lastScheduledTime"] == "2026-01-02T06:00:00Z"
    assert done.next == SIX + dt.timedelta(days=1)


def test_before_its_time_it_waits() -> None:
    done = plan(cron(), [], SIX - SECOND)
    assert done.create is None
    assert done.next == SIX


def test_a_time_is_served_once() -> None:
    served = {"lastScheduledTime": "2026-01-02T06:00:00Z"}
    assert plan(cron(served), [], SIX + 2 * SECOND).create is None


def test_a_missed_time_is_only_made_up_for_within_the_deadline() -> None:
    late = SIX + dt.timedelta(minutes=5)
    assert plan(cron(), [], late).create is None
    assert plan(cron(startingDeadlineSeconds=600), [], late).create is not None


def test_times_are_those_of_the_time_zone() -> None:
    done = plan(cron(timezone="Europe/Berlin"), [], SIX - dt.timedelta(hours=1) + SECOND)
    assert done.create is not None


@pytest.mark.parametrize(
    ("policy", "starts", "terminated"),
    [("Allow", True, []), ("Forbid", False, []), ("Replace", True, ["daily-1"])],
)
def test_what_still_runs(policy: str, starts: bool, terminated: list[str]) -> None:
    done = plan(cron(concurrencyPolicy=policy), [ran(1, "Running")], SIX + SECOND)
    assert (done.create is not None) is starts
    assert done.terminate == terminated


def test_history_is_limited_and_counted() -> None:
    status = {"active": [{"name": "daily-9"}], "succeeded": 4}
    old = [ran(n, "Succeeded") for n in (1, 2, 3, 9)] + [ran(4, "Failed"), ran(5, "Error")]
    done = plan(cron(status), old, SIX - SECOND)
    assert done.delete == ["daily-1", "daily-4"]
    assert (done.status["succeeded"], done.status["failed"]) == (5, 0)


def test_it_can_be_suspended_or_stop_itself() -> None:
    assert plan(cron(suspend=True), [], SIX + SECOND).create is None
    stop = {"expression": "cronworkflow.failed >= 3"}
    done = plan(cron({"failed": 3}, stopStrategy=stop), [], SIX + SECOND)
    assert done.create is None
    assert done.status["phase"] == "Stopped"


def test_when_decides() -> None:
    rule = "{{cronworkflow.succeeded}} < 1"
    assert plan(cron(when=rule), [], SIX + SECOND).create is not None
    assert plan(cron({"succeeded": 1}, when=rule), [], SIX + SECOND).create is None


def test_a_condition_that_cannot_be_read_is_reported() -> None:
    assert "ends where" in plan(cron(when="1 =="), [], SIX + SECOND).problem
