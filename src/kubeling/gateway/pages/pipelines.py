"""Pipelines, their runs, and workflows."""

from __future__ import annotations

from aiohttp import web

from kubeling.gateway.kinds import RUNS, WORKFLOWS
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient

__all__ = ["pipelines"]


async def pipelines(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Pipelines, runs and workflows."""
    listed = await rest.get("/apis/v2beta1/pipelines", page_size="50", sort_by="created_at desc")
    runs = await rest.get("/apis/v2beta1/runs", page_size="50", sort_by="created_at desc")
    return views.page(
        request,
        "pipelines.html",
        "/pipelines",
        "Pipelines",
        (RUNS, WORKFLOWS),
        pipelines=listed.get("pipelines") or [],
        runs=runs.get("runs") or [],
        workflows=await views.objects(WORKFLOWS),
    )
