"""Carries out over a client what the other modules of this package decide.

A Workflow's spec and its status are written apart, so their order matters: what was stopped is
started again in the spec before the status says so, and a Workflow that begins with nodes is held
back until they are there. Whoever writes in between is noticed and asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Literal

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.errors import Conflict
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS
from kubeling.workflows.offload import Offload
from kubeling.workflows.operations.interventions import (
    NodeChange,
    change_nodes,
    resume,
    shut_down,
    suspend,
)
from kubeling.workflows.operations.resubmission import resubmitted
from kubeling.workflows.operations.retrying import retried
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["WorkflowOperator"]

_TRIES: Final = 20
_OF_THE_OBJECT: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "managedFields",
)


class WorkflowOperator:
    """Does things to the Workflows of a namespace; each method returns the Workflow after it."""

    def __init__(self, client: Client, clock: Clock, offload: Offload) -> None:
        self._client = client
        self._clock = clock
        self._offload = offload

    async def get(self, where: str, wanted: str) -> Obj:
        """A Workflow with its nodes."""
        return await self._offload.hydrated(await self._client.get(WORKFLOWS, wanted, where))

    async def suspend(self, where: str, wanted: str) -> Obj:
        """Lets nothing new start."""
        return await self._change(where, wanted, suspend)

    async def resume(self, where: str, wanted: str, node_field_selector: str = "") -> Obj:
        """Goes on, everywhere or at the nodes the selector matches."""
        if node_field_selector:
            return await self.set(where, wanted, node_field_selector, NodeChange("Succeeded"))
        return await self._change(where, wanted, lambda wf: resume(wf, self._clock.now()))

    async def stop(
        self, where: str, wanted: str, node_field_selector: str = "", message: str = ""
    ) -> Obj:
        """Ends it with its exit handlers, or only the suspended nodes the selector matches."""
        if node_field_selector:
            change = NodeChange("Failed", message)
            return await self.set(where, wanted, node_field_selector, change)
        return await self._shut_down(where, wanted, "Stop")

    async def terminate(self, where: str, wanted: str) -> Obj:
        """Ends it at once."""
        return await self._shut_down(where, wanted, "Terminate")

    async def set(
        self, where: str, wanted: str, node_field_selector: str, change: NodeChange
    ) -> Obj:
        """Sets something on suspended nodes."""
        return await self._change(
            where,
            wanted,
            lambda wf: change_nodes(wf, node_field_selector, change, self._clock.now()),
        )

    async def retry(
        self,
        where: str,
        wanted: str,
        *,
        restart_successful: bool = False,
        node_field_selector: str = "",
        parameters: Iterable[str] = (),
    ) -> Obj:
        """Runs what failed again."""
        given = list(parameters)
        for _ in range(_TRIES):
            plan = retried(
                await self.get(where, wanted),
                restart_successful=restart_successful,
                node_field_selector=node_field_selector,
                parameters=given,
                now=self._clock.now(),
            )
            await self._delete_pods(where, plan.pods)
            try:
                return await self._write(plan.workflow)
            except Conflict:
                continue
        raise _contended(wanted)

    async def retry_gone(
        self,
        workflow: Obj,
        *,
        restart_successful: bool = False,
        node_field_selector: str = "",
        parameters: Iterable[str] = (),
    ) -> Obj:
        """As :meth:`retry`, of a Workflow that is only in the archive."""
        plan = retried(
            workflow,
            restart_successful=restart_successful,
            node_field_selector=node_field_selector,
            parameters=parameters,
            now=self._clock.now(),
        )
        await self._delete_pods(namespace(workflow), plan.pods)
        metadata = plan.workflow["metadata"]
        kept = {key: value for key, value in metadata.items() if key not in _OF_THE_OBJECT}
        return await self.create({**plan.workflow, "metadata": kept})

    async def resubmit(
        self, workflow: Obj, *, memoized: bool = False, parameters: Iterable[str] = ()
    ) -> Obj:
        """Runs the same again under a new name."""
        new = resubmitted(workflow, memoized=memoized, parameters=parameters, now=self._clock.now())
        return await self.create(new)

    async def create(self, workflow: Obj) -> Obj:
        """Creates a Workflow, with the nodes it begins with if it has any."""
        status = workflow.get("status")
        bare = {key: value for key, value in workflow.items() if key != "status"}
        if not status:
            return await self._client.create(WORKFLOWS, bare)
        spec = bare["spec"]
        held = await self._client.create(WORKFLOWS, {**bare, "spec": {**spec, "suspend": True}})
        where, made = namespace(held), name(held)
        await self._begin_with(held, status)
        patch = {"spec": {"suspend": spec.get("suspend")}}
        return await self._client.patch(WORKFLOWS, made, patch, where)

    async def _begin_with(self, workflow: Obj, status: Obj) -> None:
        begun = {key: value for key, value in status.items() if key != "offloadNodeStatusVersion"}
        for _ in range(_TRIES):
            try:
                bare = await self._offload.dehydrated({**workflow, "status": begun})
                await self._client.replace_status(WORKFLOWS, bare)
                return
            except Conflict:
                workflow = await self._client.get(WORKFLOWS, name(workflow), namespace(workflow))
        raise _contended(name(workflow))

    async def _shut_down(
        self, where: str, wanted: str, strategy: Literal["Stop", "Terminate"]
    ) -> Obj:
        return await self._change(where, wanted, lambda wf: shut_down(wf, strategy))

    async def _change(self, where: str, wanted: str, change: Callable[[Obj], None]) -> Obj:
        for _ in range(_TRIES):
            workflow = await self.get(where, wanted)
            change(workflow)
            try:
                return await self._write(workflow)
            except Conflict:
                continue
        raise _contended(wanted)

    async def _write(self, workflow: Obj) -> Obj:
        written = await self._client.replace(WORKFLOWS, _bare(workflow))
        if written.get("status") == workflow.get("status"):
            return written
        version = written["metadata"]["resourceVersion"]
        metadata = {**workflow["metadata"], "resourceVersion": version}
        bare = await self._offload.dehydrated({**workflow, "metadata": metadata})
        answer = await self._client.replace_status(WORKFLOWS, bare)
        return await self._offload.hydrated(answer)

    async def _delete_pods(self, where: str, pods: Iterable[str]) -> None:
        await asyncio.gather(
            *(
                self._client.delete(PODS, pod, where, grace_period_seconds=0, missing_ok=True)
                for pod in pods
            )
        )


def _bare(workflow: Obj) -> Obj:
    """The Workflow for a write of its spec, which takes no notice of the status."""
    return {key: value for key, value in workflow.items() if key != "status"}


def _contended(wanted: str) -> Conflict:
    return Conflict(f'workflow "{wanted}" is changed by others all the time; try again')
