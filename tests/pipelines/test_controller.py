"""Runs as the controller carries them out, with a kubelet that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.pipelines.specs import document, output_of, step, task

from kubeling.component import Context
from kubeling.kube.controller import run_controllers
from kubeling.kube.objects import Obj, name, new_object
from kubeling.kube.resources import EVENTS, PODS, Resource
from kubeling.pipelines.component import COMPONENT
from kubeling.pipelines.pods import TASK_PATH
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.store import RunStore

ADD = {"step": step(x="NUMBER_INTEGER", outputs={"out": "NUMBER_INTEGER"})}
CHAIN = document({"a": task(inputs={"x": 1}), "b": task(inputs={"x": output_of("a")})}, ADD)


@contextlib.asynccontextmanager
async def controllers(context: Context) -> AsyncIterator[None]:
    """The room's controllers; leaving ends them as a crash would, without a word."""
    running = asyncio.create_task(
        run_controllers(COMPONENT.controllers(context), context.informers)
    )
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(context: Context, resource: Resource, holds: Callable[[Obj], Any]) -> Obj:
    """The first object of the kind that is as wanted."""
    informer = context.informers.of(resource)
    found: asyncio.Future[Obj] = asyncio.get_running_loop().create_future()

    def look(_: Obj | None, obj: Obj | None) -> None:
        if obj is not None and not found.done() and holds(obj):
            found.set_result(obj)

    informer.add_handler(look)
    try:
        async with asyncio.timeout(60):
            return await found
    finally:
        informer.remove_handler(look)


async def submit(context: Context, spec: Obj, run_name: str = "r", **fields: Any) -> Obj:
    body = {"pipelineSpec": spec, **fields}
    return await context.client.create(RUNS, new_object(RUNS, run_name, "default", spec=body))


async def pod_of(context: Context, path: str, run_name: str = "r", phase: str = "") -> Obj:
    def matches(pod: Obj) -> bool:
        mine = name(pod).startswith(f"{run_name}-")
        seen = (pod.get("status") or {}).get("phase") or "Pending"
        return (
            mine
            and pod["metadata"]["annotations"].get(TASK_PATH) == path
            and (not phase or seen == phase)
        )

    return await until(context, PODS, matches)


async def ended(context: Context, run_name: str = "r", state: str = "") -> Obj:
    def has_ended(run: Obj) -> bool:
        seen = (run.get("status") or {}).get("state")
        return name(run) == run_name and seen in ((state,) if state else ("SUCCEEDED", "FAILED"))

    return await until(context, RUNS, has_ended)


async def succeed(context: Context, pod: Obj, **outputs: str) -> None:
    """Does what the pod's container would: writes its outputs and ends."""
    mount = pod["spec"]["volumes"][0]["hostPath"]["path"]
    path = pod["metadata"]["annotations"][TASK_PATH]
    attempt = pod["metadata"]["annotations"]["pipelines.kubeflow.org/attempt"]
    run_id = pod["metadata"]["labels"]["pipeline/runid"]
    folder = f"{mount}/p/{run_id}/{path}/{attempt}"
    for key, text in outputs.items():
        context.artifacts.put(f"{folder}/.parameters/{key}", text.encode())
    await finish(context, pod, "Succeeded", 0)


async def finish(context: Context, pod: Obj, phase: str, code: int, message: str = "") -> None:
    moment = "2026-01-01T00:00:00Z"
    terminated = {
        "exitCode": code, "reason": "Error" if code else "Completed", "message": message,
        "startedAt": moment, "finishedAt": moment,
    }  # fmt: skip
    container = {
        "name": "main", "image": "busybox", "imageID": "", "ready": False, "restartCount": 0,
        "state": {"terminated": terminated},
    }  # fmt: skip
    status = {"phase": phase, "startTime": moment, "containerStatuses": [container]}
    await context.client.patch_status(PODS, name(pod), status, "default")


async def pods(context: Context) -> list[str]:
    found = await context.client.list(PODS, "default")
    return sorted(pod["metadata"]["annotations"][TASK_PATH] for pod in found.items)


async def test_outputs_flow_from_pod_to_pod(context: Context) -> None:
    async with controllers(context):
        await submit(context, CHAIN)
        await succeed(context, await pod_of(context, "a"), out="7\n")
        second = await pod_of(context, "b")
        assert (
            second["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
        )
        await succeed(context, second, out="8")
        run = await ended(context)
    assert run["status"]["state"] == "SUCCEEDED"
    assert run["status"]["tasks"] == "2/2"
    conditions = {c["type"]: c["status"] for c in run["status"]["conditions"]}
    assert conditions == {"Running": "False", "Succeeded": "True", "Failed": "False"}


async def test_a_failure_tells_its_cause_first(context: Context) -> None:
    async with controllers(context):
        await submit(context, CHAIN)
        log = "Traceback …\n  line 3\nValueError: no such column"
        await finish(context, await pod_of(context, "a"), "Failed", 1, log)
        run = await ended(context, state="FAILED")
        event = await until(context, EVENTS, lambda e: e["reason"] == "TaskFailed")
    cause = "exited with code 1: ValueError: no such column"
    assert run["status"]["message"] == f"task a failed: {cause}"
    assert event["message"] == f"Task a failed: {cause}"


async def test_a_missing_output_fails_the_task(context: Context) -> None:
    async with controllers(context):
        await submit(context, CHAIN)
        await succeed(context, await pod_of(context, "a"))
        run = await ended(context, state="FAILED")
    assert 'without writing its output parameter "out"' in run["status"]["message"]


async def test_a_new_controller_goes_on_where_the_old_one_was_killed(context: Context) -> None:
    async with controllers(context):
        await submit(context, CHAIN)
        first = await pod_of(context, "a")
    await succeed(context, first, out="7")
    async with controllers(context):
        second = await pod_of(context, "b")
    async with controllers(context):
        await succeed(context, second, out="8")
        run = await ended(context)
    assert run["status"]["state"] == "SUCCEEDED"
    assert await pods(context) == ["a", "b"]


async def test_what_is_known_of_a_run_stays_when_it_is_deleted_at_any_moment(
    context: Context,
) -> None:
    store = RunStore(await context.open_database())
    async with controllers(context):
        await submit(context, CHAIN)
        first = await pod_of(context, "a")
        await succeed(context, first, out="7")
        await pod_of(context, "b")  # what ran is not stored yet, or has just been
        await context.client.delete(RUNS, "r", "default")
        run_id = first["metadata"]["ownerReferences"][0]["uid"]
        async with asyncio.timeout(30):
            while await store.unfinished():
                pass  # its deletion is on its way to the controller
    nodes = await store.nodes(run_id)
    assert (nodes["a"].state, nodes["a"].outputs.parameters) == ("SUCCEEDED", {"out": 7})
    assert nodes["b"].state == "PENDING"


async def test_what_ran_before_is_taken_from_the_cache(context: Context) -> None:
    cached = document({"a": task(inputs={"x": 1}, cachingOptions={"enableCache": True})}, ADD)
    async with controllers(context):
        await submit(context, cached, "first")
        await succeed(context, await pod_of(context, "a", "first"), out="7")
        await ended(context, "first", "SUCCEEDED")
        await submit(context, cached, "second")
        await ended(context, "second", "SUCCEEDED")
        event = await until(context, EVENTS, lambda e: e["reason"] == "TasksCached")
    assert await pods(context) == ["a"]
    assert "same inputs and code" in event["message"]


async def test_a_deleted_pod_counts_as_a_failure(context: Context) -> None:
    async with controllers(context):
        await submit(context, CHAIN)
        pod = await pod_of(context, "a")
        await context.client.delete(PODS, name(pod), "default", grace_period_seconds=0)
        run = await ended(context, state="FAILED")
    assert f"pod {name(pod)} was deleted" in run["status"]["message"]


async def test_a_failed_run_is_sent_back_to_work(context: Context) -> None:
    async with controllers(context):
        await submit(context, CHAIN)
        await succeed(context, await pod_of(context, "a"), out="7")
        failed = await pod_of(context, "b")
        await finish(context, failed, "Failed", 1)
        await ended(context, state="FAILED")
        await context.client.patch(RUNS, "r", {"spec": {"retries": 1}}, "default")
        again = await until(
            context,
            PODS,
            lambda p: p["metadata"]["annotations"].get("pipelines.kubeflow.org/epoch") == "1",
        )
        assert again["metadata"]["annotations"][TASK_PATH] == "b"
        assert name(again) != name(failed)


async def test_a_run_of_an_unknown_pipeline_says_so(context: Context) -> None:
    async with controllers(context):
        reference = {"pipelineID": "nobody"}
        spec = {"pipelineVersionReference": reference}
        await context.client.create(RUNS, new_object(RUNS, "r", "default", spec=spec))
        run = await ended(context, state="FAILED")
    assert "Not found: pipeline nobody" in run["status"]["message"]


async def test_termination_asks_pods_to_stop_and_keeps_their_logs(context: Context) -> None:
    async with controllers(context):
        await submit(context, CHAIN)
        await pod_of(context, "a")
        await context.client.patch(RUNS, "r", {"spec": {"terminate": True}}, "default")
        pod = await until(context, PODS, lambda p: p["spec"].get("activeDeadlineSeconds") == 1)
        await finish(context, pod, "Failed", 143)
        run = await ended(context, state="FAILED")
    assert run["status"]["message"] == "terminated by the user"
    states = [entry["state"] for entry in run["status"]["stateHistory"]]
    assert states == ["PENDING", "RUNNING", "CANCELING", "FAILED"]
