"""Recurring runs: each moment gets one run, whatever happens to the controller."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.conftest import Api, platform, served
from tests.pipelines.test_api import PIPELINE, post, upload
from tests.pipelines.test_controller import until

from kubeling.component import Context
from kubeling.kube import yaml
from kubeling.kube.clock import FakeClock
from kubeling.kube.controller import run_controllers
from kubeling.kube.objects import Obj, name
from kubeling.kube.resources import EVENTS
from kubeling.pipelines.recurring import recurring_run_controller
from kubeling.pipelines.resources import RECURRING_RUNS, RUNS

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
HOURLY = {"interval_second": 3600, "start_time": "2026-01-01T08:00:00Z"}
THREE = {"periodic_schedule": {**HOURLY, "end_time": "2026-01-01T11:30:00Z"}}


@pytest.fixture
async def noon(tmp_path: Path) -> AsyncIterator[Context]:
    async with platform(tmp_path) as context:
        context.clock = FakeClock(NOON)
        yield context


@pytest.fixture
async def clock_api(noon: Context) -> AsyncIterator[Api]:
    async with served(noon) as client:
        yield client


@contextlib.asynccontextmanager
async def scheduler(context: Context) -> AsyncIterator[None]:
    """The controller; leaving ends it as a crash would."""
    running = asyncio.create_task(
        run_controllers([recurring_run_controller(context)], context.informers)
    )
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def schedule(api: Api, trigger: Any, **fields: Any) -> Any:
    body = {"display_name": "job", "max_concurrency": "10", "trigger": trigger, **fields}
    body.setdefault("pipeline_spec", PIPELINE)
    return await post(api, "/recurringruns", body)


async def told(context: Context, holds: Callable[[Obj], Any]) -> Obj:
    """The status of the recurring run when it is as wanted."""
    job = await until(context, RECURRING_RUNS, lambda job: holds(job.get("status") or {}))
    status: Obj = job["status"]
    return status


async def due_times(context: Context) -> list[str]:
    runs = (await context.client.list(RUNS, "default")).items
    return sorted(run["spec"]["scheduledAt"][11:16] for run in runs)


async def test_missed_moments_are_made_up_for(noon: Context, clock_api: Api) -> None:
    await schedule(clock_api, THREE)
    async with scheduler(noon):
        status = await told(noon, lambda status: status.get("index") == 3)
    assert await due_times(noon) == ["09:00", "10:00", "11:00"]
    assert len(status["active"]) == 3
    assert not status.get("nextScheduledAt")


async def test_only_the_last_is_made_up_for_without_catchup(noon: Context, clock_api: Api) -> None:
    await schedule(clock_api, {"periodic_schedule": HOURLY}, no_catchup=True)
    async with scheduler(noon):
        status = await told(noon, lambda status: status.get("nextScheduledAt"))
    assert status["nextScheduledAt"] == "2026-01-01T13:00:00Z"
    assert await due_times(noon) == ["12:00"]


async def test_a_controller_that_is_killed_repeats_nothing(noon: Context, clock_api: Api) -> None:
    await schedule(clock_api, THREE)
    async with scheduler(noon):
        await told(noon, lambda status: status.get("index") == 3)
    (job,) = (await noon.client.list(RECURRING_RUNS, "default")).items
    # As if it had been killed after creating the last run, before saying so.
    before = {"lastScheduledAt": "2026-01-01T10:00:00Z", "index": 2}
    await noon.client.patch_status(RECURRING_RUNS, name(job), before, "default")
    await told(noon, lambda status: status.get("index") == 2)
    async with scheduler(noon):
        await told(noon, lambda status: status.get("index") == 3)
    assert await due_times(noon) == ["09:00", "10:00", "11:00"]


async def test_no_more_run_at_once_than_allowed(noon: Context, clock_api: Api) -> None:
    await schedule(clock_api, THREE, max_concurrency=1)
    async with scheduler(noon):
        first = await until(noon, RUNS, lambda run: True)
        await told(noon, lambda status: status.get("active") == [name(first)])
        assert await due_times(noon) == ["09:00"]
        await noon.client.patch_status(RUNS, name(first), {"state": "SUCCEEDED"}, "default")
        await told(noon, lambda status: status.get("index") == 2)
    assert await due_times(noon) == ["09:00", "10:00"]


async def test_a_disabled_one_waits_until_it_is_enabled(noon: Context, clock_api: Api) -> None:
    job = await schedule(clock_api, THREE, mode="DISABLE")
    assert job["status"] == "DISABLED"
    async with scheduler(noon):
        await post(clock_api, f"/recurringruns/{job['recurring_run_id']}:enable")
        await told(noon, lambda status: status.get("index") == 3)
        await post(clock_api, f"/recurringruns/{job['recurring_run_id']}:disable")
        await told(noon, lambda status: not status.get("nextScheduledAt"))


async def test_parameters_and_the_latest_version_are_taken_when_it_is_due(
    noon: Context, clock_api: Api
) -> None:
    made = await upload(clock_api, yaml.dump(PIPELINE).encode(), name="p")
    parameters = {"when": "[[ScheduledTime.15:04]] [[Index]]", "id": "[[RunUUID]]"}
    await schedule(
        clock_api,
        THREE,
        pipeline_spec=None,
        pipeline_version_reference={"pipeline_id": made["pipeline_id"]},
        runtime_config={"parameters": parameters},
    )
    latest = await upload(
        clock_api,
        yaml.dump(PIPELINE).encode(),
        path="upload_version",
        name="p2",
        pipelineid=made["pipeline_id"],
    )
    async with scheduler(noon):
        run = await until(noon, RUNS, lambda run: True)
    reference = run["spec"]["pipelineVersionReference"]
    assert reference["pipelineVersionID"] == latest["pipeline_version_id"]
    given = run["spec"]["runtimeConfig"]["parameters"]
    assert given == {"when": "09:00 1", "id": "[[RunUUID]]"}


async def test_a_zone_that_does_not_exist_is_told(
    noon: Context, clock_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRON_SCHEDULE_TIMEZONE", "Europe/Atlantis")
    await schedule(clock_api, {"cron_schedule": {"cron": "0 0 2 * * *"}})
    async with scheduler(noon):
        event = await until(noon, EVENTS, lambda event: event["reason"] == "InvalidTimeZone")
    assert "Europe/Atlantis" in event["message"]
