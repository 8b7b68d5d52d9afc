"""The page of any one object: state, causes, conditions, what it owns, events, logs, YAML."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from kubeling.gateway.kinds import BY_KIND, WORKFLOWS
from kubeling.gateway.pages.missing import section_at
from kubeling.gateway.pages.view import Views
from kubeling.kube import yaml
from kubeling.kube.diagnosis import OwnerTree, first_causes
from kubeling.kube.objects import Obj, deep_copy, uid
from kubeling.kube.resources import (
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)

__all__ = ["object_page", "object_values", "pod_log", "resource_of"]

_MAY_BE_OWNED = (PODS, JOBS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, SERVICES)


def resource_of(request: web.Request) -> Resource:
    """The resource a path's ``group``, ``version`` and ``kind`` mean."""
    group, version = request.match_info["group"], request.match_info["version"]
    api_version = version if group == "core" else f"{group}/{version}"
    found = BY_KIND.get((api_version, request.match_info["kind"]))
    if found is None:
        raise web.HTTPNotFound(text=f"The dashboard has no page for {request.match_info['kind']}.")
    return found


async def object_page(views: Views, request: web.Request) -> web.Response:
    """Everything there is to say about one object."""
    resource = resource_of(request) if "kind" in request.match_info else WORKFLOWS
    obj = await views.object(resource, request)
    values = await object_values(views, obj)
    title = obj["metadata"]["name"]
    watching = (resource, *_MAY_BE_OWNED, EVENTS)
    section = section_at(request.path) or ""
    return views.page(request, "object.html", section, title, watching, **values)


async def object_values(views: Views, obj: Obj) -> dict[str, Any]:
    """What the detail templates show of an object."""
    owned_kinds = [r for r in BY_KIND.values() if r in _MAY_BE_OWNED or r.group not in ("", "apps")]
    informers = views.context.informers
    kinds = [r for r in owned_kinds if informers.of(r).synced] or list(_MAY_BE_OWNED)
    objects = await views.objects(*{*kinds, *_MAY_BE_OWNED})
    events = await views.objects(EVENTS)
    tree = OwnerTree(objects, events)
    shown = deep_copy(obj)
    shown["metadata"].pop("managedFields", None)
    about = [e for e in events if e.get("involvedObject", {}).get("uid") == uid(obj)]
    about.sort(key=lambda e: str(e.get("lastTimestamp") or ""), reverse=True)
    return {
        "obj": obj,
        "causes": first_causes(obj, tree)[:3],
        "owned": _descendants(obj, tree),
        "events": about[:30],
        "yaml": yaml.dump(shown),
    }


def _descendants(obj: Obj, tree: OwnerTree, level: int = 0) -> list[tuple[int, Obj]]:
    rows = []
    for child in tree.dependents(obj):
        rows.append((level, child))
        rows += _descendants(child, tree, level + 1)
    return rows


async def pod_log(views: Views, request: web.Request) -> web.StreamResponse:
    """A container's log as plain text; with ``?follow=true`` as it is written."""
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    stream = views.context.client.logs(
        name,
        namespace,
        container=request.query.get("container", ""),
        follow=request.query.get("follow") == "true",
        tail_lines=_tail(request.query.get("tail", "2000")),
    )
    first = await anext(stream, b"")
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    if request.query.get("download") == "true":
        headers["Content-Disposition"] = f'attachment; filename="{name}.log"'
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(first)
    async for chunk in stream:
        await response.write(chunk)
    return response


def _tail(text: str) -> int | None:
    """How many last lines; a negative number means all of them."""
    if not text.lstrip("-").isdecimal():
        raise web.HTTPNotFound(text=f"tail: Invalid value: {text!r}: must be a number of lines.")
    return int(text) if int(text) >= 0 else None
