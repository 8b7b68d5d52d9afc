"""All served models, and one: its traffic, its revisions, its cost, and why it does not load."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from aiohttp import web

from kubeling.gateway.drawing.curves import Curve, draw_curves
from kubeling.gateway.kinds import INFERENCE_SERVICES
from kubeling.gateway.live import stream_changes
from kubeling.gateway.models.failure import Explanation, explain, local_place
from kubeling.gateway.models.progress import progress_of
from kubeling.gateway.models.rest import cost_of, rests
from kubeling.gateway.models.traffic import (
    RevisionTraffic,
    canary_percent,
    revisions_of,
    summary_of,
)
from kubeling.gateway.pages.models.source import counted, metrics_of, objects_of
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube import objects
from kubeling.kube.objects import Obj, labels, name, namespace, uid
from kubeling.kube.resources import DEPLOYMENTS, PODS
from kubeling.serving.names import SERVICE, STOP
from kubeling.serving.watching.settings import is_monitored

__all__ = ["model_page", "model_stream", "models"]

_TAIL: Final = 15
_QUIET_SECONDS: Final = 1.0
_COUNTED: Final = 100
"""Models whose requests are looked up for the list."""
_SMALL: Final = (720, 200)


async def models(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """All served models."""
    services = await views.objects(INFERENCE_SERVICES)
    resting = rests(await views.objects(PODS), await views.objects(DEPLOYMENTS))
    busiest = services[:_COUNTED]
    counts = await asyncio.gather(*(counted(rest, isvc) for isvc in busiest))
    known = {uid(isvc): found for isvc, found in zip(busiest, counts, strict=True)}
    found = [
        summary_of(isvc, known.get(uid(isvc)) or {}, resting.get((namespace(isvc), name(isvc)), ""))
        for isvc in services
    ]
    watching = (INFERENCE_SERVICES, DEPLOYMENTS)
    return views.page(request, "models.html", "/models", "Models", watching, found=found)


async def model_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """One served model."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    found = await objects_of(views, isvc)
    counts = await counted(rest, isvc)
    progress = progress_of(isvc, found.pods)
    revisions = revisions_of(isvc, counts, found.pods, found.deployments)
    used = await metrics_of(views, isvc)
    explained = Explanation()
    if progress.state == "failed":
        client, place = views.context.client, local_place(isvc)
        explained = await explain(client, progress, found.pods, place)
    return views.page(
        request,
        "model.html",
        "/models",
        name(isvc),
        (INFERENCE_SERVICES, PODS),
        stream=f"{views.link(isvc)}/live",
        base=views.link(isvc),
        progress=progress,
        revisions=revisions,
        canary=canary_percent(isvc),
        rate=_chart(revisions),
        cost=cost_of(isvc, found.pods, found.deployments, used, int(counts.get("wakes") or 0)),
        hint=explained.hint,
        tail="\n".join(explained.tail(_TAIL)),
        pods=found.pods,
        form_of=found.ready()[:1],
        monitored=is_monitored(isvc),
        stopped=objects.annotations(isvc).get(STOP) == "true",
        address=f"{views.context.settings.gateway_url}/serving/{namespace(isvc)}/{name(isvc)}",
        **await object_values(views, isvc),
    )


async def model_stream(views: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """The word that there is more to see: of the service, its pods, or of its requests."""
    isvc = await views.object(INFERENCE_SERVICES, request)

    def concerns(obj: Obj) -> bool:
        same = namespace(obj) == namespace(isvc)
        return same and name(isvc) in (name(obj), labels(obj).get(SERVICE))

    async def asked() -> str:
        # As long as there is a request in the chart, it moves.
        counts = await counted(rest, isvc)
        demand = counts.get("demand") or {}
        moving = any(any(d.get("per_second") or ()) for d in demand.values())
        return json.dumps(counts) if moving else json.dumps(counts.get("revisions"))

    return await stream_changes(
        request,
        views.context,
        (INFERENCE_SERVICES, PODS, DEPLOYMENTS),
        concerns=concerns,
        poll=asked,
        quiet=_QUIET_SECONDS,
    )


def _chart(revisions: list[RevisionTraffic]) -> str:
    """Requests a second over the last two minutes; nothing if there were none."""
    curves = [
        Curve(
            one.revision,
            [(float(at - len(one.per_second)), float(n)) for at, n in enumerate(one.per_second)],
        )
        for one in revisions
        if any(one.per_second)
    ]
    return draw_curves(curves, "seconds from now", "requests/s", size=_SMALL)
