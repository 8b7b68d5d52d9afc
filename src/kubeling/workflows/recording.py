"""Writes down how far a Workflow is: its status, its nodes, its labels, and events about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from kubeling.component import Context
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.workflows.archive import LABEL_ARCHIVING, is_archived
from kubeling.workflows.artifact_gc import FINALIZER, wants_gc
from kubeling.workflows.completion import LABEL_PHASE
from kubeling.workflows.estimation import origin_label
from kubeling.workflows.metering import Metering
from kubeling.workflows.offload import Offload
from kubeling.workflows.pods import LABEL_COMPLETED
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.run import Run
from kubeling.workflows.scope import Unresolved

if TYPE_CHECKING:
    from kubeling.workflows.node_store import NodeStore

__all__ = ["Recording"]

log = logging.getLogger(__name__)

_POD_NAMES: Final = "workflows.argoproj.io/pod-name-format"


class Recording:
    """Records runs as they go."""

    def __init__(self, context: Context, offload: Offload, metering: Metering) -> None:
        self._client = context.client
        self._clock = context.clock
        self._workflows = context.informers.of(WORKFLOWS)
        self._events = context.recorder("workflow-controller")
        self._offload = offload
        self._metering = metering
        self._swept = False

    async def write(self, run: Run) -> None:
        """Writes what has changed since the last time."""
        workflow, execution = run.workflow, run.execution
        before = run.writer.phase
        begun = self._clock.monotonic()
        change = run.writer.change(execution, run.template_spec)
        if change.rows:
            store = await self._open_nodes()
            version = await store.save(uid(workflow), change.rows, run.writer.version)
            run.writer.offloaded(change, version)
        if change.patch:
            written = await self._client.patch_status(
                WORKFLOWS, name(workflow), change.patch, namespace(workflow)
            )
            run.wrote(written)
        run.written_at = self._clock.monotonic()
        run.write_took = run.written_at - begun
        await self._tell_failures(run)
        if execution.phase != before:
            self._metering.entered(workflow, execution.phase)
            await self._announce(run, before)

    async def _tell_failures(self, run: Run) -> None:
        """A step's failure is an event of its Workflow, as upstream; its success is not."""
        for key, node in list(run.todo.failed.items()):
            message = f"{node.phase} node {node.name}" + (
                f": {node.message}" if node.message else ""
            )
            await self._events.warning(run.workflow, f"WorkflowNode{node.phase}", message)
            del run.todo.failed[key]

    async def _announce(self, run: Run, before: str) -> None:
        """Tells the new phase in the labels tools select by, and as an event."""
        workflow, phase = run.workflow, run.execution.phase
        metadata: Obj = _metadata(run) if phase == "Running" else {"labels": {}}
        metadata["labels"][LABEL_PHASE] = phase
        finalizers = workflow["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers and wants_gc(run.execution.spec):
            metadata["finalizers"] = [*finalizers, FINALIZER]
        metadata["labels"][LABEL_COMPLETED] = str(run.execution.finished).lower()
        if is_archived(workflow):
            # It was set back after its end, and will be archived again.
            metadata["labels"][LABEL_ARCHIVING] = None
        written = await self._client.patch(
            WORKFLOWS, name(workflow), {"metadata": metadata}, namespace(workflow)
        )
        run.wrote(written)
        if phase == "Running" or (run.claimed and run.execution.finished and not before):
            await self._events.normal(workflow, "WorkflowRunning", "Workflow Running")
        if phase == "Succeeded":
            await self._events.normal(workflow, "WorkflowSucceeded", "Workflow completed")
        elif phase in ("Failed", "Error"):
            message = run.execution.message or f"Workflow {phase.lower()}"
            await self._events.warning(workflow, "WorkflowFailed", message)

    async def _open_nodes(self) -> NodeStore:
        """The store of offloaded nodes; at first, what was deleted while nobody watched goes."""
        store = await self._offload.store()
        if not self._swept:
            self._swept = True
            await store.sweep([uid(workflow) for workflow in self._workflows.list()])
        return store


def _metadata(run: Run) -> Obj:
    """The Workflow's own labels and annotations; a mistake in them stops nothing."""
    try:
        metadata = run.execution.metadata
    except Unresolved as problem:
        log.warning("workflow %s: workflowMetadata: %s", name(run.workflow), problem)
        metadata = {"labels": {}, "annotations": {}}
    metadata["annotations"][_POD_NAMES] = "v2"
    for label, value in origin_label(run.workflow):
        metadata["labels"].setdefault(label, value)
    return metadata
