"""When outputs of earlier tasks are taken again, and what is said about it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa
from tests.pipelines.conftest import Api
from tests.pipelines.specs import document, step, task
from tests.pipelines.test_controller import controllers, ended, pod_of, submit, succeed

from kubeling.component import Context
from kubeling.kube.objects import Obj, uid
from kubeling.kube.resources import NAMESPACES
from kubeling.pipelines.cache_misses import differences
from kubeling.pipelines.caching import MAX_AGE, parse_age
from kubeling.pipelines.nodes import task_id
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.store import RunStore
from kubeling.pipelines.tables import CACHE

ADD = {"step": step(x="NUMBER_INTEGER", outputs={"out": "NUMBER_INTEGER"})}
CACHED = document({"a": task(inputs={"x": 1}, cachingOptions={"enableCache": True})}, ADD)


def test_ages_are_durations_of_iso_8601() -> None:
    assert parse_age("P30D") == dt.timedelta(days=30)
    assert parse_age("P1W") == dt.timedelta(weeks=1)
    assert parse_age("PT1H30M") == dt.timedelta(minutes=90)
    assert parse_age("P0D") == dt.timedelta()
    for wrong in ("", "P", "30 days", "PT", "P1Y"):
        with pytest.raises(ValueError, match="no duration such as P30D"):
            parse_age(wrong)


async def reason(context: Context, run: Obj, path: str = "a") -> str:
    database = await context.open_database()
    nodes = await RunStore(database).nodes(uid(run))
    return str(nodes[path].cache)


async def run_once(context: Context, name: str, spec: Obj = CACHED, **fields: Any) -> Obj:
    await submit(context, spec, name, **fields)
    await succeed(context, await pod_of(context, "a", name), out="7")
    return await ended(context, name, "SUCCEEDED")


async def test_outputs_beyond_an_age_are_not_taken(context: Context) -> None:
    async with controllers(context):
        await run_once(context, "first")
        database = await context.open_database()
        old = sa.update(CACHE).values(created_at=dt.datetime(2026, 1, 1))
        await database.run(lambda connection: connection.execute(old))
        await context.client.patch(
            NAMESPACES, "default", {"metadata": {"annotations": {MAX_AGE: "P30D"}}}
        )
        run = await run_once(context, "second")
        said = await reason(context, run)
        assert "are too old: the namespace's annotation says P30D" in said


async def test_a_task_says_itself_how_old_its_outputs_may_be(context: Context) -> None:
    executors = {"step": {"podMetadata": {"annotations": {MAX_AGE: "P0D"}}}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    async with controllers(context):
        await run_once(context, "first")
        run = await run_once(context, "second", platformSpec=platform)
        said = await reason(context, run)
    assert said == "not cached: caching is off: the task's annotation says P0D"


async def test_an_age_that_cannot_be_read_ends_the_run(context: Context) -> None:
    async with controllers(context):
        body = {
            "apiVersion": "pipelines.kubeflow.org/v2beta1",
            "kind": "Run",
            "metadata": {"name": "s", "namespace": "default", "annotations": {MAX_AGE: "soon"}},
            "spec": {"pipelineSpec": CACHED},
        }
        await context.client.create(RUNS, body)
        failed = await ended(context, "s", "FAILED")
    assert '"soon" is no duration such as P30D' in failed["status"]["message"]


async def test_what_was_cached_can_be_forgotten(context: Context, api: Api) -> None:
    async with controllers(context):
        first = await run_once(context, "first")
        task = task_id(uid(first), "a")
        answer = await api.post(f"/apis/v2beta1/tasks/{task}:forgetCached")
        assert await answer.json() == {"forgotten": 1}
        second = await run_once(context, "second")
        assert "nothing ran with the same inputs" in await reason(context, second)


async def test_a_key_of_ones_own_replaces_everything_else(context: Context) -> None:
    def keyed(value: int) -> Obj:
        options = {"enableCache": True, "cacheKey": "mine"}
        return document({"a": task(inputs={"x": value}, cachingOptions=options)}, ADD)

    async with controllers(context):
        await run_once(context, "first", keyed(1))
        await submit(context, keyed(2), "second")
        run = await ended(context, "second", "SUCCEEDED")
    assert "same inputs and code as in run" in await reason(context, run)


def lightly_cached(image: str = "busybox", variable: str = "", **inputs: Any) -> Obj:
    """A cached task of a component whose inputs are any of x (a number), text and y."""
    made = step(x="NUMBER_INTEGER", text="STRING", outputs={"out": "NUMBER_INTEGER"})
    made["inputDefinitions"]["parameters"]["text"]["isOptional"] = True
    container = made["executor"]["container"]
    container["image"] = image
    if variable:
        container["env"] = [{"name": "MODE", "value": variable}]
    options = {"enableCache": True}
    return document({"a": task(inputs={"x": 1, **inputs}, cachingOptions=options)}, {"step": made})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"x": 2}, "parameter x was 1, is 2"),
        ({"x": 2, "text": "t"}, "parameter x was 1, is 2, parameter text t is new"),
        ({"text": "long" * 50}, "parameter text is new"),
        ({"image": "alpine"}, "the image was busybox, is alpine"),
        ({"variable": "fast"}, "variable MODE fast is new"),
    ],
)
async def test_a_miss_says_what_differs(context: Context, changed: Obj, told: str) -> None:
    async with controllers(context):
        first = await run_once(context, "first", lightly_cached())
        second = await run_once(context, "second", lightly_cached(**changed))
        said = await reason(context, second)
    assert said.startswith(f"not cached: {told} (against run {uid(first)} of 20")


async def test_a_miss_is_compared_with_the_nearest(context: Context) -> None:
    async with controllers(context):
        near = await run_once(context, "near", lightly_cached(x=3))
        await run_once(context, "far", lightly_cached(x=4, image="alpine"))
        run = await run_once(context, "third", lightly_cached(x=5))
        said = await reason(context, run)
    assert said.startswith(f"not cached: parameter x was 3, is 5 (against run {uid(near)} ")


def test_much_that_differs_is_counted() -> None:
    before = {f"parameter p{n}": "1" for n in range(9)}
    assert differences({"the image": "a"}, [before])[1] == [
        "the image a is new", *(f"parameter p{n} is gone" for n in range(3)), "6 more differ",
    ]  # fmt: skip
