"""WorkflowTemplates, ClusterWorkflowTemplates and CronWorkflows: kept as they are.

Upstream: ``server/workflowtemplate``, ``server/clusterworkflowtemplate``, ``server/cronworkflow``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from aiohttp import web

from kubeling.kube.objects import Obj, deep_copy, resource_version
from kubeling.kube.resources import Resource
from kubeling.workflows.api.service import Service, in_namespace
from kubeling.workflows.api.wire import body_of, options_of, part_of, query_of
from kubeling.workflows.api.workflows import ListOptions
from kubeling.workflows.references import check_references
from kubeling.workflows.resources import (
    CLUSTER_WORKFLOW_TEMPLATES,
    CRON_WORKFLOWS,
    WORKFLOW_TEMPLATES,
)

__all__ = ["ClusterTemplateService", "CronService", "TemplateService"]


class _Body(msgspec.Struct, rename="camel"):
    template: dict[str, Any] | None = None
    cron_workflow: dict[str, Any] | None = None

    @property
    def object(self) -> Obj:
        """What the request brings."""
        return part_of(self.template or self.cron_workflow, "the object")


class _DefinitionService(Service):
    """Objects of one kind; what differs is the resource and where the spec is that runs."""

    resource: ClassVar[Resource]
    runs: ClassVar[str] = ""

    async def list(self, request: web.Request) -> Obj:
        """The objects, by name."""
        where = self._where(request)
        await self.allow(request, "list", self.resource, where)
        options = options_of(request, "listOptions", ListOptions)
        pattern = query_of(request, "namePattern")
        found = await self.client.list(
            self.resource,
            where,
            labels=options.label_selector,
            fields=options.field_selector,
            limit=0 if pattern else options.limit,
            continue_token="" if pattern else options.continue_,
        )
        metadata: Obj = {"resourceVersion": found.resource_version}
        items = found.items
        if pattern:
            items = _matching(items, pattern, options, metadata)
        elif found.continue_token:
            metadata["continue"] = found.continue_token
        items.sort(key=lambda obj: str(obj["metadata"]["name"]))
        return {"metadata": metadata, "items": items}

    async def create(self, request: web.Request) -> Obj:
        """Creates an object whose references can be followed."""
        obj, where = await self._given(request, "create")
        await check_references(self.client, self._spec(obj), where)
        return await self.client.create(self.resource, obj, where)

    async def lint(self, request: web.Request) -> Obj:
        """Checks an object and returns it as it was given."""
        obj, where = await self._given(request, "create")
        checked = deep_copy(obj)
        metadata = checked["metadata"]
        metadata["generateName"] = (
            metadata.pop("name", "") or metadata.get("generateName") or "lint-"
        )[:57]
        await check_references(self.client, self._spec(checked), where)
        await self.client.create(self.resource, checked, where, dry_run=True)
        return obj

    async def get(self, request: web.Request) -> Obj:
        """One object."""
        where, wanted = await self._named(request, "get")
        return await self.client.get(self.resource, wanted, where)

    async def update(self, request: web.Request) -> Obj:
        """Replaces an object."""
        obj, where = await self._given(request, "update")
        wanted = obj["metadata"].setdefault("name", request.match_info["name"])
        await check_references(self.client, self._spec(obj), where)
        if not resource_version(obj):
            current = await self.client.get(self.resource, wanted, where)
            obj["metadata"]["resourceVersion"] = resource_version(current)
        return await self.client.replace(self.resource, obj)

    async def delete(self, request: web.Request) -> Obj:
        """Deletes an object."""
        where, wanted = await self._named(request, "delete")
        await self.client.delete(self.resource, wanted, where, propagation="Background")
        return {}

    def _where(self, request: web.Request) -> str:
        return request.match_info.get("namespace", "")

    def _spec(self, obj: Obj) -> Obj:
        spec = obj.get("spec") or {}
        found: Obj = spec.get(self.runs) or {} if self.runs else spec
        return found

    async def _named(self, request: web.Request, verb: str) -> tuple[str, str]:
        where, wanted = self._where(request), request.match_info["name"]
        await self.allow(request, verb, self.resource, where, wanted)
        return where, wanted

    async def _given(self, request: web.Request, verb: str) -> tuple[Obj, str]:
        where = self._where(request)
        obj = (await body_of(request, _Body)).object
        obj |= {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
        await self.allow(request, verb, self.resource, where, request.match_info.get("name", ""))
        if self.resource.namespaced:
            in_namespace(obj, where)
        return await self.signed(request, obj), where


class TemplateService(_DefinitionService):
    """WorkflowTemplates."""

    resource = WORKFLOW_TEMPLATES


class ClusterTemplateService(_DefinitionService):
    """ClusterWorkflowTemplates."""

    resource = CLUSTER_WORKFLOW_TEMPLATES


class CronService(_DefinitionService):
    """CronWorkflows, which can also be suspended."""

    resource = CRON_WORKFLOWS
    runs = "workflowSpec"

    async def suspend(self, request: web.Request) -> Obj:
        """Starts no more Workflows."""
        return await self._suspend(request, True)

    async def resume(self, request: web.Request) -> Obj:
        """Starts Workflows again."""
        return await self._suspend(request, False)

    async def _suspend(self, request: web.Request, suspended: bool) -> Obj:
        where, wanted = await self._named(request, "update")
        patch = {"spec": {"suspend": suspended}}
        return await self.client.patch(CRON_WORKFLOWS, wanted, patch, where)


def _matching(items: list[Obj], pattern: str, options: ListOptions, metadata: Obj) -> list[Obj]:
    """The page of those whose names contain the pattern, by falling version as upstream's is."""
    found = [obj for obj in items if pattern in obj["metadata"]["name"]]
    found.sort(key=lambda obj: int(resource_version(obj)), reverse=True)
    if options.continue_:
        last = int(options.continue_) if options.continue_.isdecimal() else 0
        found = [obj for obj in found if int(resource_version(obj)) < last]
    if options.limit and len(found) > options.limit:
        found = found[: options.limit]
        metadata["continue"] = resource_version(found[-1])
    return found
