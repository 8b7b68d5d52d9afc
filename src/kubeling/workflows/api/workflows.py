"""Workflows: creating, listing, reading, deleting.

Upstream: ``server/workflow/workflow_server.go``. A list goes through the live Workflows and then
through what is only in the archive.
"""

from __future__ import annotations

import builtins
from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, deep_copy, name, uid
from kubeling.workflows.api.errors import InvalidArgument
from kubeling.workflows.api.fields import Fields
from kubeling.workflows.api.service import Service, in_namespace
from kubeling.workflows.api.wire import body_of, options_of, part_of, query_of
from kubeling.workflows.listing import WorkflowFilter, newest_first, workflow_filter
from kubeling.workflows.operations.submission import (
    SubmitOptions,
    apply_submit_options,
    from_cron_workflow,
    from_template,
    source_kind,
)
from kubeling.workflows.references import check_references
from kubeling.workflows.resources import CRON_WORKFLOWS, WORKFLOWS

__all__ = ["ListOptions", "WorkflowService"]

_LATEST: Final = "@latest"


class ListOptions(msgspec.Struct, rename="camel"):
    """``listOptions.*``"""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_: str = msgspec.field(default="", name="continue")
    resource_version: str = ""

    @property
    def offset(self) -> int:
        """How many entries earlier pages had."""
        if not (self.continue_ or "0").isdecimal():
            raise InvalidArgument("listOptions.continue must be int")
        return int(self.continue_ or 0)


class _Create(msgspec.Struct, rename="camel"):
    workflow: dict[str, Any] | None = None
    server_dry_run: bool = False
    create_options: dict[str, Any] | None = None


class _Submit(msgspec.Struct, rename="camel"):
    resource_kind: str = ""
    resource_name: str = ""
    submit_options: SubmitOptions | None = None


class WorkflowService(Service):
    """The Workflows of a namespace, or of all."""

    async def list(self, request: web.Request) -> Obj:
        """Live and archived Workflows, in pages."""
        options = options_of(request, "listOptions", ListOptions)
        wanted = workflow_filter(
            namespace=request.match_info.get("namespace", ""),
            name_filter=query_of(request, "nameFilter"),
            created_after=query_of(request, "createdAfter"),
            finished_before=query_of(request, "finishedBefore"),
            label_selector=options.label_selector,
            field_selector=options.field_selector,
        )
        where = "" if wanted.other_namespaces else wanted.namespace
        await self.allow(request, "list", WORKFLOWS, where)
        fields = Fields.parse(query_of(request, "fields"))
        items, metadata = await self._page(wanted, options)
        items.sort(key=_shown_order, reverse=True)
        if fields.keeps("items.status.nodes"):
            items = [await self.offload.hydrated(workflow) for workflow in items]
        return fields.listed({"metadata": metadata, "items": items})

    async def create(self, request: web.Request) -> Obj:
        """Creates a Workflow, or shows what would be created."""
        where = request.match_info["namespace"]
        body = await body_of(request, _Create)
        workflow = in_namespace(part_of(body.workflow, "workflow"), where)
        return await self._create(
            request,
            workflow,
            where,
            dry_run=bool((body.create_options or {}).get("dryRun")),
            server_dry_run=body.server_dry_run,
        )

    async def submit(self, request: web.Request) -> Obj:
        """Creates a Workflow from a template or a CronWorkflow."""
        where = request.match_info["namespace"]
        body = await body_of(request, _Submit)
        options = body.submit_options or SubmitOptions()
        resource = source_kind(body.resource_kind)
        at = where if resource.namespaced else ""
        await self.allow(request, "get", resource, at, body.resource_name)
        source = await self.client.get(resource, body.resource_name, at)
        if resource is CRON_WORKFLOWS:
            workflow = from_cron_workflow(source, self.clock.now())
        else:
            workflow = from_template(source, resource, options.artifacts or ())
        apply_submit_options(workflow, options)
        return await self._create(
            request,
            in_namespace(workflow, where),
            where,
            dry_run=options.dry_run,
            server_dry_run=options.server_dry_run,
        )

    async def lint(self, request: web.Request) -> Obj:
        """Checks a Workflow, references included, and returns it as it was given."""
        where = request.match_info["namespace"]
        workflow = part_of((await body_of(request, _Create)).workflow, "workflow")
        await self.allow(request, "create", WORKFLOWS, where)
        await self._check(deep_copy(workflow), where)
        return workflow

    async def get(self, request: web.Request) -> Obj:
        """A Workflow, live or from the archive."""
        workflow = await self.found(request, query_of(request, "uid"))
        return Fields.parse(query_of(request, "fields")).workflow(workflow)

    async def delete(self, request: web.Request) -> Obj:
        """Deletes a Workflow; with ``force``, whatever still holds it."""
        workflow = await self.found(request, verb="delete")
        where, own = workflow["metadata"]["namespace"], name(workflow)
        if query_of(request, "force") == "true":
            patch = {"metadata": {"finalizers": None}}
            await self.client.patch(WORKFLOWS, own, patch, where)
        await self.client.delete(WORKFLOWS, own, where, propagation="Background")
        return {}

    async def found(self, request: web.Request, wanted_uid: str = "", verb: str = "get") -> Obj:
        """The Workflow the path names; ``@latest`` is the youngest."""
        where, wanted = request.match_info["namespace"], request.match_info["name"]
        await self.allow(request, verb, WORKFLOWS, where, "" if wanted == _LATEST else wanted)
        if wanted == _LATEST:
            return await self._latest(where)
        try:
            found = await self.operator.get(where, wanted)
        except ApiError as error:
            if (archived := await self._archived(where, wanted, wanted_uid)) is None:
                raise error
            return archived
        if wanted_uid and uid(found) != wanted_uid:
            return await self._archived(where, wanted, wanted_uid) or found
        return found

    async def _archived(self, where: str, wanted: str, wanted_uid: str) -> Obj | None:
        if not self.archive.enabled:
            return None
        return await (await self.archive.store()).get(uid=wanted_uid, namespace=where, name=wanted)

    async def _latest(self, where: str) -> Obj:
        live = (await self.client.list(WORKFLOWS, where)).items
        if not live:
            raise InvalidArgument("no workflows found")
        youngest = max(live, key=lambda wf: str(wf["metadata"]["creationTimestamp"]))
        return await self.operator.get(where, name(youngest))

    async def _create(
        self,
        request: web.Request,
        workflow: Obj,
        where: str,
        *,
        dry_run: bool,
        server_dry_run: bool,
    ) -> Obj:
        await self.allow(request, "create", WORKFLOWS, where)
        workflow |= {"apiVersion": WORKFLOWS.api_version, "kind": WORKFLOWS.kind}
        await self.signed(request, workflow)
        await check_references(self.client, workflow.get("spec") or {}, where)
        if dry_run:
            await self._check(deep_copy(workflow), where)
            return workflow
        return await self.client.create(WORKFLOWS, workflow, where, dry_run=server_dry_run)

    async def _check(self, workflow: Obj, where: str) -> None:
        """Asks the API what it would say, as if there were no namesake."""
        metadata = workflow["metadata"]
        prefix = metadata.pop("name", "") or metadata.get("generateName") or "lint-"
        metadata["generateName"] = prefix[:57]
        metadata["namespace"] = where
        workflow |= {"apiVersion": WORKFLOWS.api_version, "kind": WORKFLOWS.kind}
        await check_references(self.client, workflow.get("spec") or {}, where)
        await self.client.create(WORKFLOWS, workflow, where, dry_run=True)

    async def _page(
        self, wanted: WorkflowFilter, options: ListOptions
    ) -> tuple[builtins.list[Obj], Obj]:
        informer = self.informers.of(WORKFLOWS)
        await informer.wait_synced()
        where = "" if wanted.other_namespaces else wanted.namespace
        live = [workflow for workflow in informer.list(where) if wanted.matches(workflow)]
        live.sort(key=newest_first, reverse=True)
        metadata: Obj = {"resourceVersion": informer.resource_version}
        limit, offset = options.limit, options.offset
        items = live[offset : offset + limit] if limit else live
        if not self.archive.enabled:
            rest = len(live) - offset - len(items)
            return items, _paged(metadata, offset + len(items), rest if limit else 0, wanted)
        store = await self.archive.store()
        shown = [uid(wf) for wf in live if (wf.get("status") or {}).get("finishedAt")]
        room, begin = limit - len(items), max(0, offset - len(live))
        # One more than there is room for tells whether there are more.
        filed = await store.page(wanted, room + 1 if limit else 0, begin, without=shown)
        items = items + (filed[:room] if limit else filed)
        rest = len(filed) - room if limit else 0
        if limit and wanted.count_rest:
            total = len(live) + await store.count(wanted, without=shown)
            rest = total - offset - len(items)
        return items, _paged(metadata, offset + len(items), rest, wanted)


def _paged(metadata: Obj, following: int, rest: int, wanted: WorkflowFilter) -> Obj:
    """The list's metadata: where the next page begins, and how much is left if that is asked."""
    if wanted.count_rest:
        metadata["remainingItemCount"] = max(0, rest)
    if rest > 0:
        metadata["continue"] = str(following)
    return metadata


def _shown_order(workflow: Obj) -> tuple[bool, str]:
    """What runs before what has ended, the youngest first (with ``reverse``)."""
    finished = (workflow.get("status") or {}).get("finishedAt")
    if finished:
        return False, str(finished)
    return True, str(workflow["metadata"].get("creationTimestamp") or "")
