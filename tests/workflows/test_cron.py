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
    used = {"cronworkflows.argoproj.io/last-used-schedule": "0 6 * * *"}
    for deadline, made in ((None, False), (600, True)):
        body = cron(startingDeadlineSeconds=deadline)
        body["metadata"]["annotations"] = used
        assert (plan(body, [], late).create is not None) is made


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
    done = plan(cron(when="1 =="), [], SIX + SECOND)
    assert "ends where" in done.problem
    assert done.status["conditions"][0]["type"] == "SubmissionError"
    assert done.status["conditions"][0]["message"].startswith("run policy error: ")
    assert done.status["failed"] == 1
    # The same time is not decided about again.
    again = plan(cron(done.status, when="1 =="), [], SIX + 2 * SECOND, done.looked_at)
    assert again.status["failed"] == 1


def test_what_it_does_can_depend_on_when_it_last_did() -> None:
    rule = (
        "{{= cronworkflow.lastScheduledTime == nil || "
        "(now() - cronworkflow.lastScheduledTime).Seconds() > 30 }}"
    )
    assert plan(cron(when=rule), [], SIX + SECOND).create is not None
    recent = {"lastScheduledTime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    later = dt.datetime.now(dt.UTC).replace(second=1) + dt.timedelta(days=2)
    due = plan(cron(recent, schedules=["* * * * *"], when=rule), [], later)
    assert due.looked_at is not None
    assert due.create is None


def test_once_stopped_it_stays_so_and_is_labelled() -> None:
    stop = {"expression": "cronworkflow.succeeded >= 1"}
    done = plan(cron({"succeeded": 1}, stopStrategy=stop), [], SIX + SECOND)
    assert done.labels == {"cronworkflows.argoproj.io/completed": "true"}
    assert plan(cron(done.status), [], SIX + SECOND).create is None
    odd = plan(cron(stopStrategy={"expression": "'x'"}), [], SIX + SECOND)
    assert odd.status["conditions"][0]["type"] == "SpecError"


def test_a_schedule_that_has_just_been_changed_makes_up_for_nothing() -> None:
    served = {"lastScheduledTime": "2026-01-01T06:00:00Z"}
    late = SIX + dt.timedelta(minutes=5)
    body = cron(served, startingDeadlineSeconds=600)
    first = plan(body, [], late)
    assert first.create is None
    assert first.annotations == {"cronworkflows.argoproj.io/last-used-schedule": "0 6 * * *"}
    body["metadata"]["annotations"] = first.annotations
    assert plan(body, [], late).create is not None


def test_times_may_be_given_by_an_interval_or_with_a_zone_of_their_own() -> None:
    served = {"lastScheduledTime": "2026-01-02T06:00:00Z"}
    body = cron(served, schedules=["@every 90m"])
    assert plan(body, [], SIX + dt.timedelta(minutes=80)).next == SIX + dt.timedelta(minutes=90)
    assert plan(body, [], SIX + dt.timedelta(minutes=90, seconds=1)).create is not None
    berlin = cron(schedules=["CRON_TZ=Europe/Berlin 0 7 * * *"])
    assert plan(berlin, [], SIX + SECOND).create is not None
