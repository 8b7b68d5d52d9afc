"""Served models: traffic, state, and a form to try one."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from kubeling.gateway.kinds import INFERENCE_SERVICES
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS

__all__ = ["model_page", "models", "traffic_of"]


@dataclass(frozen=True, slots=True)
class Share:
    """One revision's part of the traffic."""

    revision: str
    percent: int
    latest: bool


async def models(views: Views, request: web.Request) -> web.Response:
    """All served models."""
    found = [(isvc, traffic_of(isvc)) for isvc in await views.objects(INFERENCE_SERVICES)]
    watching = (INFERENCE_SERVICES,)
    return views.page(request, "models.html", "/models", "Models", watching, found=found)


async def model_page(views: Views, request: web.Request) -> web.Response:
    """One served model."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    base = views.context.settings.gateway_url
    path = f"/serving/{namespace(isvc)}/{name(isvc)}"
    return views.page(
        request,
        "model.html",
        "/models",
        name(isvc),
        (INFERENCE_SERVICES, PODS),
        traffic=traffic_of(isvc),
        predict=f"{path}/v1/models/{name(isvc)}:predict",
        curl=f"{base}{path}/v1/models/{name(isvc)}:predict",
        **await object_values(views, isvc),
    )


def traffic_of(isvc: Obj) -> list[Share]:
    """How requests are split among revisions now."""
    components = (isvc.get("status") or {}).get("components") or {}
    return [
        Share(
            entry.get("revisionName", ""),
            int(entry.get("percent") or 0),
            bool(entry.get("latestRevision")),
        )
        for entry in (components.get("predictor") or {}).get("traffic") or ()
    ]
