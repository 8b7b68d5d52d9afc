"""Archived Workflows. Upstream: ``server/workflowarchive/archived_workflow_server.go``."""

from __future__ import annotations

from aiohttp import web

from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS
from kubeling.workflows.api.actions import Again
from kubeling.workflows.api.errors import AlreadyExistsFailure, InvalidArgument, NotFoundFailure
from kubeling.workflows.api.service import Service
from kubeling.workflows.api.wire import body_of, options_of, query_of
from kubeling.workflows.api.workflows import ListOptions
from kubeling.workflows.listing import workflow_filter
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["ArchivedService"]


class ArchivedService(Service):
    """What the archive holds."""

    async def list(self, request: web.Request) -> Obj:
        """What lists show of archived Workflows, in pages."""
        options = options_of(request, "listOptions", ListOptions)
        wanted = workflow_filter(
            namespace=query_of(request, "namespace"),
            name_prefix=query_of(request, "namePrefix"),
            name_filter=query_of(request, "nameFilter"),
            label_selector=options.label_selector,
            field_selector=options.field_selector,
        )
        where = "" if wanted.other_namespaces else wanted.namespace
        await self.allow(request, "list", WORKFLOWS, where)
        store = await self.archive.store()
        limit, offset = options.limit, options.offset
        found = await store.page(wanted, limit + 1 if limit else 0, offset)
        metadata: Obj = {}
        if limit and len(found) > limit:
            found = found[:limit]
            metadata["continue"] = str(offset + limit)
        if limit and wanted.count_rest:
            rest = await store.count(wanted) - offset - len(found)
            metadata["remainingItemCount"] = max(0, rest)
        return {"metadata": metadata, "items": found}

    async def get(self, request: web.Request) -> Obj:
        """One Workflow whole."""
        return await self._found(request, query_of(request, "namespace"), query_of(request, "name"))

    async def delete(self, request: web.Request) -> Obj:
        """Takes one out of the archive."""
        workflow = await self._found(
            request, query_of(request, "namespace"), query_of(request, "name"), "delete"
        )
        await (await self.archive.store()).delete(workflow["metadata"]["uid"])
        return {}

    async def label_keys(self, request: web.Request) -> Obj:
        """Labels that archived Workflows have."""
        await self.allow(request, "list", WORKFLOWS, query_of(request, "namespace"))
        return {"items": await (await self.archive.store()).label_keys()}

    async def label_values(self, request: web.Request) -> Obj:
        """Values of the one label that the selector names."""
        await self.allow(request, "list", WORKFLOWS, query_of(request, "namespace"))
        selector = options_of(request, "listOptions", ListOptions).label_selector
        labels = workflow_filter(label_selector=selector).labels
        requirements = labels.requirements if labels is not None else ()
        if len(requirements) != 1:
            raise InvalidArgument(f"only allow 1 labelRequirement, found {len(requirements)}")
        if requirements[0].operator != "Exists":
            raise InvalidArgument(f"operation {requirements[0].operator} is not supported")
        return {"items": await (await self.archive.store()).label_values(requirements[0].key)}

    async def retry(self, request: web.Request) -> Obj:
        """Makes a Workflow that is gone again, to run what failed."""
        how = await body_of(request, Again)
        workflow = await self._found(request, how.namespace, how.name)
        where = namespace(workflow)
        await self.allow(request, "create", WORKFLOWS, where)
        await self.allow(request, "delete", PODS, where)
        if await self.client.find(WORKFLOWS, name(workflow), where) is not None:
            raise AlreadyExistsFailure(
                "Workflow already exists on cluster, use argo retry {name} instead"
            )
        return await self.operator.retry_gone(
            workflow,
            restart_successful=how.restart_successful,
            node_field_selector=how.node_field_selector,
            parameters=how.parameters or (),
        )

    async def resubmit(self, request: web.Request) -> Obj:
        """Runs the same under a new name."""
        how = await body_of(request, Again)
        workflow = await self._found(request, how.namespace, how.name)
        await self.allow(request, "create", WORKFLOWS, namespace(workflow))
        return await self.operator.resubmit(
            workflow, memoized=how.memoized, parameters=how.parameters or ()
        )

    async def _found(self, request: web.Request, where: str, wanted: str, verb: str = "get") -> Obj:
        store = await self.archive.store()
        if wanted and where:
            workflow = await store.get(namespace=where, name=wanted)
        else:
            workflow = await store.get(uid=request.match_info["uid"])
        if workflow is None:
            raise NotFoundFailure("not found")
        await self.allow(request, verb, WORKFLOWS, namespace(workflow), name(workflow))
        return workflow
