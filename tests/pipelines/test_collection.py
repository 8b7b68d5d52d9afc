"""Retention policies: which runs are archived and deleted, and what goes with them."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.pipelines.conftest import Api
from tests.pipelines.test_api import PIPELINE, get, post
from tests.pipelines.test_controller import until

from kubeling.component import Context, Settings
from kubeling.kube.controller import run_controllers
from kubeling.kube.objects import Obj, new_object, uid
from kubeling.kube.resources import EVENTS, PODS
from kubeling.pipelines.collection import collection_controllers
from kubeling.pipelines.logs import kept_log
from kubeling.pipelines.nodes import ArtifactRef, Outputs, TaskNode
from kubeling.pipelines.records import RunRecord
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.settings import PipelineSettings, Retention, pipeline_settings
from kubeling.pipelines.store import RunStore
from kubeling.pipelines.tables import ARTIFACTS, SPECS
from kubeling.pipelines.tables import RUNS as TABLE

DAY = dt.timedelta(days=1)


async def run_that_ended(
    api: Api, context: Context, display_name: str, days_ago: float, **values: Any
) -> str:
    """A run with one task, which made one file in the run's folder."""
    experiment = values.pop("experiment", "")
    body = {"display_name": display_name, "pipeline_spec": PIPELINE, "experiment_id": experiment}
    run_id = str((await post(api, "/runs", body))["run_id"])
    objects = (await context.client.list(RUNS, "default")).items
    run: Obj = next(found for found in objects if uid(found) == run_id)
    path = context.artifacts.folder / "pipelines" / "default" / "p" / run_id / "a" / "model"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0123456789")
    own = values.pop("artifact", None) or ArtifactRef(
        int(run_id[:8], 16), "model", "system.Model", str(path)
    )
    now = context.clock.now()
    node = TaskNode("a", "a", kind="container", outputs=Outputs({}, {"model": [own]}))
    node.state = "SUCCEEDED"
    store = RunStore(await context.open_database())
    ended = now - days_ago * DAY
    state = values.pop("state", "SUCCEEDED")
    await store.save(run, [node], RunRecord(state, "", 0, [], ended), now)
    columns = {"created_at": ended.replace(tzinfo=None), **values}
    query = sa.update(TABLE).where(TABLE.c.run_id == run_id).values(**columns)
    await store.database.run(lambda c: c.execute(query))
    return run_id


async def left(api: Api, **query: Any) -> set[str]:
    found = await get(api, "/runs", page_size="200", **query)
    return {run["display_name"] for run in found.get("runs", [])}


async def collect(api: Api, *policies: Any, **fields: Any) -> Any:
    return await post(api, "/runs:collect", {"policies": list(policies), **fields})


@pytest.fixture
async def five(api: Api, context: Context) -> list[str]:
    """Runs that ended 1 to 5 days ago, the third of which failed; and one that has not ended."""
    await post(api, "/runs", {"display_name": "running", "pipeline_spec": PIPELINE})
    return [
        await run_that_ended(
            api, context, f"{days}", days, state="FAILED" if days == 3 else "SUCCEEDED"
        )
        for days in range(1, 6)
    ]


@pytest.mark.parametrize(
    ("policy", "stay"),
    [
        ({"max_age": "60h"}, {"1", "2"}),
        ({"keep_last": 1}, {"1"}),
        ({"keep_last": 1, "max_age": "84h"}, {"1", "2", "3"}),
        ({"max_age": "1h", "states": ["FAILED"]}, {"1", "2", "4", "5"}),
        ({"max_age": "1h", "namespace": "other"}, {"1", "2", "3", "4", "5"}),
        ({"max_age": "1h", "experiment": "Default"}, set()),
        ({"max_age": "1h", "archived": True}, {"1", "2", "3", "4", "5"}),
    ],
)
async def test_policies_mean_ended_runs_only(
    api: Api, five: list[str], policy: Any, stay: set[str]
) -> None:
    planned = await collect(api, policy, dry_run=True)
    assert await left(api) == {"1", "2", "3", "4", "5", "running"}
    found = await collect(api, policy)
    assert found["deleted"] == planned["deleted"] == 5 - len(stay)
    assert await left(api) == {*stay, "running"}


async def test_the_last_are_kept_of_each_experiment(api: Api, context: Context) -> None:
    for experiment in ("x", "y"):
        made = await post(api, "/experiments", {"display_name": experiment})
        for days in (1, 2):
            own = made["experiment_id"]
            await run_that_ended(api, context, f"{experiment}{days}", days, experiment=own)
    await collect(api, {"keep_last": 1})
    assert await left(api) == {"x1", "y1"}


async def test_runs_can_be_archived_first_and_deleted_later(
    api: Api, context: Context, five: list[str]
) -> None:
    archive = {"max_age": "36h", "action": "archive", "archived": False}
    delete = {"max_age": "108h", "archived": True}
    found = await collect(api, archive, delete)
    assert (found["archived"], found["deleted"]) == (4, 1)
    wanted = {"predicates": [{"key": "storage_state", "operation": 1, "string_value": "ARCHIVED"}]}
    assert await left(api, filter=wanted) == {"2", "3", "4"}


async def test_a_policy_that_means_everything_is_refused(api: Api) -> None:
    refused = await post(api, "/runs:collect", {"policies": [{"namespace": "default"}]}, 400)
    assert "max_age or keep_last is required" in refused["message"]


async def test_objects_and_specs_go_with_the_last_run(
    api: Api, context: Context, five: list[str]
) -> None:
    await collect(api, {"max_age": "1h"})
    objects = (await context.client.list(RUNS, "default")).items
    assert [found["spec"]["displayName"] for found in objects] == ["running"]
    database = await context.open_database()
    count = sa.select(sa.func.count()).select_from(SPECS)
    assert await database.run(lambda c: c.execute(count).scalar()) == 1


def folder_of(context: Context, run_id: str) -> Path:
    return context.artifacts.folder / "pipelines" / "default" / "p" / run_id


async def test_files_go_only_if_nothing_else_refers_to_them(
    api: Api, context: Context, registry: list[str]
) -> None:
    lonely = await run_that_ended(api, context, "lonely", 9)
    cached = await run_that_ended(api, context, "cached", 9)
    model = await run_that_ended(api, context, "model", 9)
    path = folder_of(context, cached) / "a" / "model"
    again = ArtifactRef(int(cached[:8], 16), "model", "system.Model", str(path))
    await run_that_ended(api, context, "took it from the cache", 0, artifact=again)
    registry.append((folder_of(context, model) / "a" / "model").as_uri())
    found = await collect(api, {"max_age": "24h"}, collect_artifacts=True)
    assert (found["deleted"], found["artifacts"], found["bytes"]) == (3, 1, "10")
    assert not folder_of(context, lonely).exists()
    assert path.exists()
    assert (folder_of(context, model) / "a" / "model").exists()
    database = await context.open_database()
    rows = await database.run(lambda c: set(c.execute(sa.select(ARTIFACTS.c.uri)).scalars()))
    assert str(folder_of(context, lonely) / "a" / "model") not in rows


async def test_files_stay_where_the_registry_cannot_be_asked(
    api: Api, context: Context, five: list[str]
) -> None:
    values = {name: getattr(context.settings, name) for name in ("data_dir", "workspace")}
    context.settings = Settings(**values, gateway_url="http://127.0.0.1:1")
    found = await collect(api, {"max_age": "1h"}, collect_artifacts=True)
    assert found["deleted"] == 5
    assert "model registry" in found["kept_files"]
    assert all(folder_of(context, run_id).exists() for run_id in five)


async def test_the_controller_collects_and_says_so(
    api: Api, context: Context, five: list[str]
) -> None:
    rooms = {"pipelines": {"retention": [{"max_age": "60h"}], "collection_batch": 2}}
    values = {name: getattr(context.settings, name) for name in ("data_dir", "workspace")}
    context.settings = Settings(**values, rooms=rooms)
    running = asyncio.create_task(
        run_controllers(collection_controllers(context), context.informers)
    )
    event = await until(context, EVENTS, lambda event: event["reason"] == "RunsCollected")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert event["message"] == "0 runs archived, 3 deleted by retention policy"
    assert await left(api) == {"1", "2", "running"}


async def test_pods_of_steps_go_once_their_log_is_kept(api: Api, context: Context) -> None:
    values = {name: getattr(context.settings, name) for name in ("data_dir", "workspace")}
    rooms = {"pipelines": {"delete_pods_after": "48h"}}
    context.settings = Settings(**values, rooms=rooms)
    ids = {days: await run_that_ended(api, context, f"{days}", days) for days in (1, 3, 5)}
    for days, run_id in ids.items():
        containers = [{"name": "main", "image": "busybox"}]
        labels = {"pipeline/runid": run_id}
        pod = new_object(
            PODS, f"p{days}", "default", labels=labels, spec={"containers": containers}
        )
        await context.client.create(PODS, pod)
        if days != 5:
            log = kept_log(context.artifacts, "default", run_id, f"p{days}")
            log.parent.mkdir(parents=True)
            log.write_text("said")
    assert (await collect(api, dry_run=True))["pods"] == 1
    assert (await collect(api))["pods"] == 1
    left = (await context.client.list(PODS, "default")).items
    assert sorted(pod["metadata"]["name"] for pod in left) == ["p1", "p5"]


def test_upstreams_variables_are_policies_too() -> None:
    environ = {"RUNS_RETENTION_TIME": "720h", "ARCHIVED_RUNS_RETENTION_TIME": "2160h"}
    assert pipeline_settings({}, environ).policies == (
        Retention(archived=False, max_age="720h", action="archive"),
        Retention(archived=True, max_age="2160h"),
    )
    assert pipeline_settings({"archive_runs_after": "1h"}, environ).archive_runs_after == "1h"
    assert PipelineSettings().policies == ()
    with pytest.raises(msgspec.ValidationError, match="max_age or keep_last"):
        pipeline_settings({"retention": [{"states": ["FAILED"]}]}, {})
