"""What can be done to a served model: move its canary, stop it, delete it."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from kubeling.gateway.kinds import INFERENCE_SERVICES
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube.objects import Obj, name, namespace
from kubeling.serving.names import STOP

__all__ = ["act_on_model"]

_ACTIONS: Final = ("canary", "promote", "rollback", "stop", "start", "delete")
_ALL: Final = 100


async def act_on_model(views: Views, _: RestClient, request: web.Request) -> web.Response:
    """Does it, and goes back to the page."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    sent = await request.post()
    client, where = views.context.client, namespace(isvc)
    match str(sent.get("action", "")):
        case "delete":
            await client.delete(INFERENCE_SERVICES, name(isvc), where)
            raise web.HTTPSeeOther("/models")
        case "canary":
            percent = _percent(str(sent.get("percent", "")))
            beside = str(sent.get("canary", ""))
            patch = _beside(isvc, beside, percent) if beside else _canary(percent)
        case "promote":
            patch = _canary(None)
        case "rollback":
            patch = _canary(0)
        case "stop":
            patch = {"metadata": {"annotations": {STOP: "true"}}}
        case "start":
            patch = {"metadata": {"annotations": {STOP: None}}}
        case other:
            known = ", ".join(_ACTIONS)
            raise web.HTTPBadRequest(text=f"action: Unsupported value: {other!r}: one of {known}")
    await client.patch(INFERENCE_SERVICES, name(isvc), patch, where)
    raise web.HTTPSeeOther(views.link(isvc))


def _canary(percent: int | None) -> Obj:
    return {"spec": {"predictor": {"canaryTrafficPercent": percent}}}


def _beside(isvc: Obj, canary: str, percent: int) -> Obj:
    """Another share for a canary of ``spec.canary``; a patch replaces lists as a whole."""
    entries = isvc["spec"].get("canary") or []
    named = [str((entry.get("predictor") or {}).get("name")) for entry in entries]
    if canary not in named:
        raise web.HTTPBadRequest(text=f"canary: Not found: {canary!r}")
    changed = [
        {**entry, "trafficPercent": percent} if title == canary else entry
        for entry, title in zip(entries, named, strict=True)
    ]
    # What was listed before the other change must not come back with it.
    version = isvc["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version}, "spec": {"canary": changed}}


def _percent(text: str) -> int:
    if not text.isdecimal() or int(text) > _ALL:
        raise web.HTTPBadRequest(text=f"percent: Invalid value: {text!r}: must be 0 to {_ALL}")
    return int(text)
