"""The pages that are one list: notebooks, the registry, namespaces."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from kubeling.gateway.kinds import NOTEBOOKS, PROFILES
from kubeling.gateway.pages.tracking import API
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import NAMESPACES, PODS, RESOURCE_QUOTAS

__all__ = ["namespaces", "notebooks", "registry"]


async def notebooks(views: Views, request: web.Request) -> web.Response:
    """All notebooks, with the address to open each at."""
    found = [
        (notebook, f"/notebook/{namespace(notebook)}/{name(notebook)}/")
        for notebook in await views.objects(NOTEBOOKS)
    ]
    watching = (NOTEBOOKS,)
    return views.page(request, "notebooks.html", "/notebooks", "Notebooks", watching, found=found)


async def registry(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Registered models and their versions."""
    listed, tracked = await asyncio.gather(
        rest.get(f"{API}/registered_models", pageSize="100"),
        rest.get(f"{API}/experiments", pageSize="100"),
    )
    models: list[dict[str, Any]] = listed.get("items") or []
    versions = await asyncio.gather(
        *(rest.get(f"{API}/registered_models/{m['id']}/versions") for m in models)
    )
    found = [(m, v.get("items") or []) for m, v in zip(models, versions, strict=True)]
    return views.page(
        request,
        "registry.html",
        "/registry",
        "Registry",
        found=found,
        tracked=tracked.get("items") or [],
    )


async def namespaces(views: Views, request: web.Request) -> web.Response:
    """Namespaces with their owners, quotas and pods."""
    watching = (NAMESPACES, PROFILES, RESOURCE_QUOTAS, PODS)
    profiles = {name(p): p for p in await views.objects(PROFILES)}
    quotas: dict[str, Obj] = {namespace(q): q for q in await views.objects(RESOURCE_QUOTAS)}
    await views.context.informers.synced(PODS)
    pods = views.context.informers.of(PODS)
    found = [
        (ns, profiles.get(name(ns)), quotas.get(name(ns)), len(pods.list(name(ns))))
        for ns in await views.objects(NAMESPACES)
    ]
    return views.page(
        request, "namespaces.html", "/namespaces", "Namespaces", watching, found=found
    )
