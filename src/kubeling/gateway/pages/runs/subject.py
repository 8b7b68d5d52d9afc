"""What a page of steps is about: a run of a pipeline, or a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from aiohttp import web

from kubeling.gateway.kinds import RUNS, WORKFLOWS, link_to
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.steps.model import StepTree
from kubeling.gateway.steps.run import RunSteps, steps_of_run
from kubeling.gateway.steps.workflow import steps_of_workflow
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS, Resource

__all__ = [
    "ArchivedSource",
    "RunSource",
    "Source",
    "Subject",
    "WorkflowSource",
    "archived_workflow",
    "find_archived",
    "nodes_of",
]

_LARGE = 500
_FINAL = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED", "Succeeded", "Failed", "Error")

Concerns = Callable[[Obj], bool]


@dataclass(frozen=True, slots=True)
class Subject:
    """One reading of it; ``values`` are what the head's template shows."""

    title: str
    base: str
    head: str
    state: str
    tree: StepTree
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        return self.state in _FINAL


class Source(Protocol):
    """Where readings come from, and which changes call for another."""

    async def read(self) -> Subject: ...

    def watching(self, subject: Subject) -> Sequence[tuple[Resource, Concerns]]: ...


class RunSource:
    """A run, as the pipelines API has it."""

    def __init__(self, views: Views, rest: RestClient, request: web.Request) -> None:
        self._rest = rest
        self._id = request.match_info["run"]

    async def read(self) -> Subject:
        body = await self._rest.read(f"/apis/v2beta1/runs/{self._id}/steps")
        large = len(body) > _LARGE * 200
        found, tree = await asyncio.to_thread(_of_run, body) if large else _of_run(body)
        return Subject(
            str(found.run.get("display_name") or self._id),
            f"/pipelines/runs/{self._id}",
            "run_head.html",
            str(found.run.get("state") or ""),
            tree,
            {"run": found.run},
        )

    def watching(self, subject: Subject) -> Sequence[tuple[Resource, Concerns]]:
        def is_run(obj: Obj) -> bool:
            return bool(obj["metadata"].get("uid") == self._id)

        def is_pod(obj: Obj) -> bool:
            owners = obj["metadata"].get("ownerReferences") or ()
            return any(owner.get("uid") == self._id for owner in owners)

        return ((RUNS, is_run), (PODS, is_pod))


class WorkflowSource:
    """A Workflow, as its status has it."""

    def __init__(self, views: Views, rest: RestClient, request: web.Request) -> None:
        self._views = views
        self._rest = rest
        self._request = request

    async def read(self) -> Subject:
        workflow = await self._views.object(WORKFLOWS, self._request)
        nodes = await nodes_of(self._rest, workflow)
        where = link_to(WORKFLOWS.api_version, "Workflow", namespace(workflow), name(workflow))
        return await _subject(workflow, nodes, where, archived=False)

    def watching(self, subject: Subject) -> Sequence[tuple[Resource, Concerns]]:
        uid = subject.values["obj"]["metadata"]["uid"]
        return ((WORKFLOWS, lambda obj: bool(obj["metadata"].get("uid") == uid)),)


class ArchivedSource:
    """A Workflow that is in the archive; nothing of it changes any more."""

    def __init__(self, views: Views, rest: RestClient, request: web.Request) -> None:
        self._rest = rest
        self._uid = request.match_info["uid"]

    async def read(self) -> Subject:
        workflow = await archived_workflow(self._rest, self._uid)
        nodes: dict[str, Obj] = (workflow.get("status") or {}).get("nodes") or {}
        return await _subject(workflow, nodes, f"/pipelines/archived/{self._uid}", archived=True)

    def watching(self, subject: Subject) -> Sequence[tuple[Resource, Concerns]]:
        return ()


async def archived_workflow(rest: RestClient, uid: str) -> Obj:
    """A Workflow whole, as it was filed."""
    return await rest.get(f"/api/v1/archived-workflows/{quote(uid, safe='')}")


async def find_archived(rest: RestClient, where: str, wanted: str) -> Obj | None:
    """The youngest archived Workflow of a name, if there is one."""
    path = f"/api/v1/workflows/{quote(where, safe='')}/{quote(wanted, safe='')}"
    try:
        return await rest.get(path)
    except Refused as error:
        if error.status == 404:
            return None
        raise


async def _subject(workflow: Obj, nodes: dict[str, Obj], base: str, *, archived: bool) -> Subject:
    if len(nodes) > _LARGE:
        tree = await asyncio.to_thread(_of_workflow, name(workflow), nodes)
    else:
        tree = _of_workflow(name(workflow), nodes)
    return Subject(
        name(workflow),
        base,
        "workflow_head.html",
        str((workflow.get("status") or {}).get("phase") or ""),
        tree,
        {"obj": workflow, "nodes": nodes, "archived": archived},
    )


async def nodes_of(rest: RestClient, workflow: Obj) -> dict[str, Obj]:
    """A workflow's nodes; too many for an object, the Argo Server API has them."""
    status: Obj = workflow.get("status") or {}
    if status.get("offloadNodeStatusVersion"):
        found = await rest.get(f"/api/v1/workflows/{namespace(workflow)}/{name(workflow)}")
        status = found.get("status") or {}
    nodes: dict[str, Obj] = status.get("nodes") or {}
    return nodes


def _of_run(body: bytes) -> tuple[RunSteps, StepTree]:
    found = msgspec.json.decode(body, type=RunSteps)
    return found, StepTree(steps_of_run(found.steps))


def _of_workflow(workflow: str, nodes: dict[str, Obj]) -> StepTree:
    return StepTree(steps_of_workflow(workflow, nodes))
