"""The runs and the workflows there are."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from kubeling.gateway.kinds import RUNS, WORKFLOWS
from kubeling.gateway.pages.runs.workflows import Listed, workflows_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient

__all__ = ["experiment_list", "experiments_by_id", "run_list"]

_PAGE: Final = 50
_STATES: Final = ("RUNNING", "PENDING", "SUCCEEDED", "FAILED", "CANCELED")
_WORKFLOWS: Final = 20


async def run_list(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Runs by name, state and experiment, newest first; and workflows."""
    query = request.query
    asked = {key: query.get(key, "").strip() for key in ("q", "state", "experiment", "archived")}
    listed = await rest.get(
        "/apis/v2beta1/runs",
        page_size=str(_PAGE),
        sort_by="created_at desc",
        page_token=query.get("token", ""),
        experiment_id=asked["experiment"],
        filter=json.dumps({"predicates": _predicates(asked)}),
    )
    experiments = await experiments_by_id(rest)
    workflows: list[Listed] = []
    more = ""
    if not any(asked.values()) and "token" not in query:
        workflows, more = await workflows_of(views, rest, _WORKFLOWS)
    return views.page(
        request,
        "runs.html",
        "/pipelines",
        "Runs",
        (RUNS, WORKFLOWS),
        runs=listed.get("runs") or [],
        total=listed.get("total_size", 0),
        token=listed.get("next_page_token", ""),
        asked=asked,
        states=_STATES,
        experiments=experiments,
        workflows=workflows,
        more_workflows=more,
    )


async def experiments_by_id(rest: RestClient) -> dict[str, dict[str, Any]]:
    """The newest experiments, by their ids."""
    found = await rest.get("/apis/v2beta1/experiments", page_size="200", sort_by="created_at desc")
    return {e["experiment_id"]: e for e in found.get("experiments") or ()}


async def experiment_list(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The experiments that runs are filed under."""
    found = await experiments_by_id(rest)
    return views.page(
        request,
        "run_experiments.html",
        "/pipelines",
        "Experiments of runs",
        (RUNS,),
        experiments=list(found.values()),
    )


def _predicates(asked: dict[str, str]) -> list[dict[str, str]]:
    storage = "ARCHIVED" if asked["archived"] else "AVAILABLE"
    found = [_predicate("storage_state", "EQUALS", storage)]
    if asked["q"]:
        found.append(_predicate("display_name", "IS_SUBSTRING", asked["q"]))
    if asked["state"] in _STATES:
        found.append(_predicate("state", "EQUALS", asked["state"]))
    return found


def _predicate(key: str, operation: str, value: str) -> dict[str, str]:
    return {"key": key, "operation": operation, "string_value": value}
