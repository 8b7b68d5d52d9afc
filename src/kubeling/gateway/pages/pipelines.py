"""Pipelines, their runs, and workflows: lists, graphs, inputs and outputs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from kubeling.gateway.drawing.graph import Node, draw_graph
from kubeling.gateway.kinds import RUNS, WORKFLOWS
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube.objects import Obj, name
from kubeling.kube.resources import PODS

__all__ = ["pipelines", "run_page", "workflow_page"]

_LEAVES = ("Pod", "Suspend", "Skipped", "HTTP")


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


async def run_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """One run of a pipeline: its graph and what every task took and made."""
    run_id = request.match_info["run"]
    run = await rest.get(f"/apis/v2beta1/runs/{run_id}")
    details = (run.get("run_details") or {}).get("task_details") or []
    tasks = await rest.get(
        "/apis/v2beta1/tasks", run_id=run_id, page_size="200", sort_by="create_time asc"
    )
    return views.page(
        request,
        "run.html",
        "/pipelines",
        run.get("display_name", run_id),
        (RUNS, PODS),
        run=run,
        tasks=sorted(tasks.get("tasks") or [], key=lambda task: task.get("start_time") or "~"),
        graph=draw_graph(task_nodes(details)),
    )


def task_nodes(tasks: list[dict[str, Any]]) -> list[Node]:
    """The graph's nodes of a run's ``task_details``: a task follows those that name it a child."""
    before: dict[str, list[str]] = {}
    for task in tasks:
        for child in task.get("child_tasks") or ():
            if "task_id" in child:
                before.setdefault(child["task_id"], []).append(task["task_id"])
    return [
        Node(
            task["task_id"],
            task.get("display_name", ""),
            task.get("state", ""),
            tuple(before.get(task["task_id"], ())),
            f"#{task['task_id']}",
        )
        for task in tasks
    ]


async def workflow_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """One workflow: its graph, its nodes' inputs and outputs, and its pods."""
    workflow = await views.object(WORKFLOWS, request)
    status: Obj = workflow.get("status") or {}
    if status.get("offloadNodeStatusVersion"):
        # Too many nodes for an object: the Argo Server API has them.
        path = f"/api/v1/workflows/{workflow['metadata']['namespace']}/{name(workflow)}"
        status = (await rest.get(path)).get("status") or {}
    nodes = status.get("nodes") or {}
    values = await object_values(views, workflow)
    return views.page(
        request,
        "workflow.html",
        "/pipelines",
        workflow["metadata"]["name"],
        (WORKFLOWS, PODS),
        nodes=[node for node in nodes.values() if node.get("type") in _LEAVES],
        graph=draw_graph(workflow_nodes(nodes)),
        **values,
    )


def workflow_nodes(nodes: dict[str, Obj]) -> list[Node]:
    """The graph's nodes of a workflow's status, groups left out and bridged."""
    parents: dict[str, list[str]] = {}
    for node in nodes.values():
        for child in node.get("children") or ():
            parents.setdefault(child, []).append(node["id"])

    def leaves_before(node_id: str, seen: frozenset[str]) -> set[str]:
        found: set[str] = set()
        for parent in parents.get(node_id, ()):
            if parent in seen:
                continue
            if nodes[parent].get("type") in _LEAVES:
                found.add(parent)
            else:
                found |= leaves_before(parent, seen | {parent})
        return found

    return [
        Node(
            node["id"],
            str(node.get("displayName") or node.get("name", "")),
            node.get("phase", ""),
            tuple(sorted(leaves_before(node["id"], frozenset((node["id"],))))),
            f"#{node['id']}",
        )
        for node in nodes.values()
        if node.get("type") in _LEAVES
    ]
