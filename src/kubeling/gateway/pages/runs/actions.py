"""What can be done to runs, workflows and schedules: buttons that post, and go back to a page."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient

__all__ = [
    "act_on_archived",
    "act_on_cron_workflow",
    "act_on_recurring_run",
    "act_on_run",
    "act_on_workflow",
]

_RUN: Final = ("terminate", "retry", "archive", "unarchive")
_WORKFLOW: Final = ("stop", "terminate", "suspend", "resume", "retry", "resubmit")
_ARCHIVED: Final = ("retry", "resubmit")
_CRON: Final = ("suspend", "resume", "submit")
_RECURRING: Final = ("enable", "disable")


async def act_on_run(_: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """Terminates, retries, archives or deletes a run."""
    run, action = request.match_info["run"], await _action(request)
    path = f"/apis/v2beta1/runs/{quote(run, safe='')}"
    if action == "delete":
        await rest.send("DELETE", path)
        raise web.HTTPSeeOther("/pipelines")
    _known(action, _RUN)
    await rest.send("POST", f"{path}:{action}")
    raise web.HTTPSeeOther(f"/pipelines/runs/{quote(run, safe='')}")


async def act_on_workflow(_: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """Stops, suspends, resumes, retries, submits again or deletes a workflow."""
    where, name = request.match_info["namespace"], request.match_info["name"]
    sent, action = await request.post(), await _action(request)
    path = f"/api/v1/workflows/{quote(where, safe='')}/{quote(name, safe='')}"
    if action == "delete":
        await rest.send("DELETE", path)
        raise web.HTTPSeeOther("/pipelines")
    _known(action, _WORKFLOW)
    body = {"name": name, "namespace": where}
    if node := str(sent.get("node", "")):
        body["nodeFieldSelector"] = f"id={node}"
        given = {key[2:]: str(text) for key, text in sent.items() if key.startswith("p.")}
        if given:
            supplied = {**body, "outputParameters": json.dumps(given)}
            await rest.send("PUT", f"{path}/set", supplied)
    made = await rest.send("PUT", f"{path}/{action}", body)
    shown = str((made.get("metadata") or {}).get("name") or name)
    page = f"/objects/argoproj.io/v1alpha1/Workflow/{where}/{shown}"
    raise web.HTTPSeeOther(page)


async def act_on_archived(_: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """Runs an archived workflow again, whole or what failed of it, or takes it out."""
    action = await _action(request)
    path = f"/api/v1/archived-workflows/{quote(request.match_info['uid'], safe='')}"
    if action == "delete":
        await rest.send("DELETE", path)
        raise web.HTTPSeeOther("/pipelines/workflows")
    _known(action, _ARCHIVED)
    made = await rest.send("PUT", f"{path}/{action}", {})
    shown = f"{made['metadata']['namespace']}/{made['metadata']['name']}"
    raise web.HTTPSeeOther(f"/objects/argoproj.io/v1alpha1/Workflow/{shown}")


async def act_on_recurring_run(
    _: Views, rest: RestClient, request: web.Request
) -> web.StreamResponse:
    """Enables, disables or deletes a recurring run."""
    action = await _action(request)
    path = f"/apis/v2beta1/recurringruns/{quote(request.match_info['job'], safe='')}"
    if action == "delete":
        await rest.send("DELETE", path)
    else:
        _known(action, _RECURRING)
        await rest.send("POST", f"{path}:{action}")
    raise web.HTTPSeeOther("/pipelines/recurring")


async def act_on_cron_workflow(
    _: Views, rest: RestClient, request: web.Request
) -> web.StreamResponse:
    """Suspends, resumes or deletes a CronWorkflow, or starts what it would start."""
    where, name = request.match_info["namespace"], request.match_info["name"]
    action = await _action(request)
    path = f"/api/v1/cron-workflows/{quote(where, safe='')}/{quote(name, safe='')}"
    if action == "submit":
        body = {"namespace": where, "resourceKind": "CronWorkflow", "resourceName": name}
        made = await rest.send("POST", f"/api/v1/workflows/{quote(where, safe='')}/submit", body)
        shown = made["metadata"]["name"]
        raise web.HTTPSeeOther(f"/objects/argoproj.io/v1alpha1/Workflow/{where}/{shown}")
    if action == "delete":
        await rest.send("DELETE", path)
    else:
        _known(action, _CRON)
        await rest.send("PUT", f"{path}/{action}", {"name": name, "namespace": where})
    raise web.HTTPSeeOther("/pipelines/recurring")


async def _action(request: web.Request) -> str:
    return str((await request.post()).get("action", ""))


def _known(action: str, actions: tuple[str, ...]) -> None:
    if action not in actions:
        known = ", ".join((*actions, "delete"))
        raise web.HTTPBadRequest(text=f"action: Unsupported value: {action!r}: one of {known}")
