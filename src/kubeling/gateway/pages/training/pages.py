"""All training jobs, and one: its replicas, how far it is, what it waits for, why it failed."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from kubeling.gateway.drawing.curves import Curve, draw_curves
from kubeling.gateway.kinds import OPTIMIZATION_JOBS, TRAINING_JOBS, link_to
from kubeling.gateway.live import stream_changes
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.training.printed import printed_metrics
from kubeling.gateway.pages.training.replicas import (
    Replica,
    belongs_to,
    counted,
    percent_of,
    replicas_of,
    waits_for,
)
from kubeling.gateway.pages.training.runtimes import runtime_link
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube.logtail import log_tail
from kubeling.kube.objects import Obj, controller_of, name, namespace
from kubeling.kube.resources import PODS, Resource

__all__ = ["act_on_training_job", "training_list", "training_page", "training_stream"]

_BY_KIND: Final = {resource.kind: resource for resource in TRAINING_JOBS}
_LINES: Final = 3000
_SMALL: Final = (420, 240)
_ACTIONS: Final = ("suspend", "resume", "delete")
_LOOK_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 0.5


async def training_list(views: Views, request: web.Request) -> web.Response:
    """All training jobs with their replicas."""
    found = [(job, counted(job), percent_of(job)) for job in await views.objects(*TRAINING_JOBS)]
    return views.page(request, "training.html", "/training", "Training", TRAINING_JOBS, found=found)


async def training_page(views: Views, request: web.Request) -> web.Response:
    """One training job."""
    resource = _resource(request)
    job = await views.object(resource, request)
    replicas = await _replicas(views, job)
    values = await object_values(views, job)
    events = values.pop("events")
    reported = (job.get("status") or {}).get("trainerStatus") or {}
    return views.page(
        request,
        "training_job.html",
        "/training",
        name(job),
        (resource, PODS),
        stream=f"{views.link(job)}/live",
        replicas=replicas,
        waits=waits_for(job, replicas),
        percent=percent_of(job),
        reported=reported,
        charts=await _charts(views, replicas),
        base=views.link(job),
        runtime_link=runtime_link(job),
        search=_search_link(job),
        suspended=bool(_suspension(job)[1]),
        ended=_has_ended(job),
        events=events,
        **values,
    )


async def training_stream(views: Views, request: web.Request) -> web.StreamResponse:
    """The word that there is more to see: of the job, its pods, or of what they print."""
    resource = _resource(request)
    job = await views.object(resource, request)

    def concerns(obj: Obj) -> bool:
        same = namespace(obj) == namespace(job)
        return same and (name(obj) == name(job) or belongs_to(obj, job))

    ended = _has_ended(job)
    began = asyncio.get_running_loop().time()

    async def printing() -> str:
        # What is printed is no object: while it trains, it is looked at every now and then.
        passed = asyncio.get_running_loop().time() - began
        return "" if ended else str(int(passed / _LOOK_SECONDS))

    return await stream_changes(
        request,
        views.context,
        (resource, PODS),
        concerns=concerns,
        poll=printing,
        quiet=_QUIET_SECONDS,
    )


async def act_on_training_job(views: Views, _: RestClient, request: web.Request) -> web.Response:
    """Suspends, resumes or deletes a training job."""
    resource = _resource(request)
    job = await views.object(resource, request)
    action = str((await request.post()).get("action", ""))
    client, where = views.context.client, namespace(job)
    if action == "delete":
        await client.delete(resource, name(job), where, propagation="Background")
        raise web.HTTPSeeOther("/training")
    if action not in _ACTIONS:
        known = ", ".join(_ACTIONS)
        raise web.HTTPBadRequest(text=f"action: Unsupported value: {action!r}: one of {known}")
    field = _suspension(job)[0]
    wanted = {"suspend": action == "suspend"}
    patch = {"spec": {field: wanted} if field else wanted}
    await client.patch(resource, name(job), patch, where)
    raise web.HTTPSeeOther(views.link(job))


def _resource(request: web.Request) -> Resource:
    return _BY_KIND[request.path.split("/")[4]]


def _suspension(job: Obj) -> tuple[str, bool]:
    """The field that holds ``suspend``, and whether it is set."""
    if job["kind"] == "TrainJob":
        return "", bool(job["spec"].get("suspend"))
    return "runPolicy", bool((job["spec"].get("runPolicy") or {}).get("suspend"))


def _search_link(job: Obj) -> str:
    """The page of the OptimizationJob that a TrainJob is a trial of."""
    owner = controller_of(job)
    if owner is None or owner["kind"] != OPTIMIZATION_JOBS.kind:
        return ""
    return link_to(owner["apiVersion"], owner["kind"], namespace(job), owner["name"])


def _has_ended(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    ends = ("Succeeded", "Failed", "Complete")
    return any(c.get("type") in ends and c.get("status") == "True" for c in conditions)


async def _replicas(views: Views, job: Obj) -> list[Replica]:
    await views.objects(PODS)
    pods = views.context.informers.of(PODS).list(namespace(job))
    return replicas_of(pod for pod in pods if belongs_to(pod, job))


async def _charts(views: Views, replicas: list[Replica]) -> list[tuple[str, str]]:
    """Curves of what the first replica prints."""
    begun = [replica for replica in replicas if replica.state not in ("pending", "deleting")]
    if not begun:
        return []
    pod = begun[0].pod
    container = pod["spec"]["containers"][0]["name"]
    lines = await log_tail(views.context.client, pod, container, _LINES)
    found = await asyncio.to_thread(printed_metrics, lines)
    return [
        (metric, draw_curves([Curve(metric, points)], "reading", metric, size=_SMALL))
        for metric, points in found.items()
    ]
