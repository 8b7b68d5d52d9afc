"""What is done to a Workflow: retry, resubmit, stop and the like.

Upstream: ``server/workflow/workflow_server.go`` and ``server/workflowarchive``.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from kubeling.kube.objects import Obj, name
from kubeling.kube.resources import PODS
from kubeling.workflows.api.errors import InvalidArgument
from kubeling.workflows.api.wire import body_of
from kubeling.workflows.api.workflows import WorkflowService
from kubeling.workflows.operations.interventions import NodeChange
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["ActionService", "Again"]


class Again(msgspec.Struct, rename="camel"):
    """How to run something again."""

    restart_successful: bool = False
    node_field_selector: str = ""
    parameters: list[str] | None = None
    memoized: bool = False
    name: str = ""
    namespace: str = ""


class _Change(msgspec.Struct, rename="camel"):
    node_field_selector: str = ""
    message: str = ""
    phase: str = ""
    output_parameters: str = ""


class ActionService(WorkflowService):
    """Each answers with the Workflow as it is then."""

    async def retry(self, request: web.Request) -> Obj:
        """Runs again what failed."""
        how = await body_of(request, Again)
        where, wanted = await self._target(request)
        await self.allow(request, "delete", PODS, where)
        return await self.operator.retry(
            where,
            wanted,
            restart_successful=how.restart_successful,
            node_field_selector=how.node_field_selector,
            parameters=how.parameters or (),
        )

    async def resubmit(self, request: web.Request) -> Obj:
        """Runs the same under a new name."""
        how = await body_of(request, Again)
        workflow = await self.found(request)
        await self.allow(request, "create", WORKFLOWS, workflow["metadata"]["namespace"])
        return await self.operator.resubmit(
            workflow, memoized=how.memoized, parameters=how.parameters or ()
        )

    async def resume(self, request: web.Request) -> Obj:
        """Goes on."""
        change = await body_of(request, _Change)
        where, wanted = await self._target(request)
        return await self.operator.resume(where, wanted, change.node_field_selector)

    async def suspend(self, request: web.Request) -> Obj:
        """Lets nothing new start."""
        return await self.operator.suspend(*await self._target(request))

    async def stop(self, request: web.Request) -> Obj:
        """Ends it with its exit handlers, or only the nodes that are selected."""
        change = await body_of(request, _Change)
        where, wanted = await self._target(request)
        return await self.operator.stop(where, wanted, change.node_field_selector, change.message)

    async def terminate(self, request: web.Request) -> Obj:
        """Ends it at once."""
        return await self.operator.terminate(*await self._target(request))

    async def set(self, request: web.Request) -> Obj:
        """Sets something on suspended nodes."""
        change = await body_of(request, _Change)
        where, wanted = await self._target(request)
        outputs = _outputs(change.output_parameters)
        return await self.operator.set(
            where,
            wanted,
            change.node_field_selector,
            NodeChange(change.phase, change.message, outputs),
        )

    async def _target(self, request: web.Request) -> tuple[str, str]:
        workflow = await self.found(request, verb="update")
        return workflow["metadata"]["namespace"], name(workflow)


def _outputs(text: str) -> dict[str, str]:
    try:
        found: dict[str, str] = msgspec.json.decode(text or b"{}", type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"unable to parse output parameter set request: {error}") from None
    return found
