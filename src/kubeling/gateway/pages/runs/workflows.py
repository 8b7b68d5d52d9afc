"""The workflows there are and were: live ones, then what only the archive has, in one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from kubeling.gateway.kinds import WORKFLOWS
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.runs.subject import archived_workflow
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube.objects import Obj, name, namespace, uid

__all__ = ["Listed", "archived_details", "workflow_list", "workflows_of"]

_PAGE: Final = 50
_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Error")
_PHASE: Final = "workflows.argoproj.io/phase"


@dataclass(frozen=True, slots=True)
class Listed:
    """A workflow in a list, and where its page is."""

    obj: Obj
    link: str
    archived: bool


async def workflow_list(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Live and archived workflows by name, phase and namespace, newest first."""
    query = request.query
    asked = {key: query.get(key, "").strip() for key in ("q", "phase", "namespace")}
    start = query.get("from", "0")
    options = {"listOptions.continue": start if start.isdecimal() else "0"}
    if asked["q"]:
        options |= {"nameFilter": "Contains"}
    fields = [
        f"{field}={value}"
        for field, value in (
            ("metadata.name", asked["q"]),
            ("metadata.namespace", asked["namespace"]),
        )
        if value
    ]
    if fields:
        options["listOptions.fieldSelector"] = ",".join(fields)
    if asked["phase"] in _PHASES:
        options["listOptions.labelSelector"] = f"{_PHASE}={asked['phase']}"
    listed, following = await workflows_of(views, rest, _PAGE, **options)
    return views.page(
        request,
        "workflows.html",
        "/pipelines",
        "Workflows",
        (WORKFLOWS,),
        found=listed,
        following=following,
        asked=asked,
        phases=_PHASES,
    )


async def workflows_of(
    views: Views, rest: RestClient, limit: int, **options: str
) -> tuple[list[Listed], str]:
    """So many workflows, and where the list goes on."""
    answer = await rest.get("/api/v1/workflows", **options, **{"listOptions.limit": str(limit)})
    found = [_listed(views, workflow) for workflow in answer.get("items") or ()]
    return found, str((answer.get("metadata") or {}).get("continue") or "")


def _listed(views: Views, workflow: Obj) -> Listed:
    live = views.context.informers.of(WORKFLOWS).get(namespace(workflow), name(workflow))
    if live is not None and uid(live) == uid(workflow):
        return Listed(live, views.link(live), archived=False)
    return Listed(workflow, f"/pipelines/archived/{uid(workflow)}", archived=True)


async def archived_details(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """An archived workflow as it was filed."""
    workflow = await archived_workflow(rest, request.match_info["uid"])
    values: dict[str, Any] = await object_values(views, workflow)
    return views.page(request, "object.html", "", name(workflow), **values)
