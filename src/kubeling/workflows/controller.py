"""The edge of the workflows room: reads the API, lets executions decide, and does what they say.

Per Workflow one :class:`Run` is kept in memory; it can be thrown away at any time. The order of
writes makes a crash harmless: pods are created (their names follow from the nodes) before the
status mentions them, and deleted only after it has their results. The status is written at once
when the phase changes and otherwise at most every :data:`~.run.WRITE_INTERVAL` seconds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.informer import Informers
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deletion_requested,
    is_owned_by,
    key_of,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import CONFIG_MAPS, PODS
from kubeling.workflows.archive import LABEL_ARCHIVING, is_archived
from kubeling.workflows.artifact_gc import FINALIZER, ArtifactGC, wants_gc
from kubeling.workflows.belongings import Belongings, NoClaim
from kubeling.workflows.completion import LABEL_PHASE, Completion
from kubeling.workflows.cron_controller import cron_controller
from kubeling.workflows.errands import ErrandResult, Errands
from kubeling.workflows.errandwork import ErrandWork
from kubeling.workflows.execution import Actions
from kubeling.workflows.memoization import MemoCaches
from kubeling.workflows.metering import Metering
from kubeling.workflows.observation import PodObservation, observe_pod
from kubeling.workflows.offload import Offload, is_offloaded
from kubeling.workflows.pods import LABEL_COMPLETED, LABEL_WORKFLOW
from kubeling.workflows.podwork import PodWork
from kubeling.workflows.resources import (
    CLUSTER_WORKFLOW_TEMPLATES,
    WORKFLOW_TEMPLATES,
    WORKFLOWS,
)
from kubeling.workflows.run import Run
from kubeling.workflows.scope import Unresolved
from kubeling.workflows.store import fetch_stored, read_progress, store_of
from kubeling.workflows.synchronization import LockKeeper
from kubeling.workflows.templates import Missing

if TYPE_CHECKING:
    from kubeling.workflows.node_store import NodeStore

__all__ = ["WorkflowReconciler", "controllers"]

log = logging.getLogger(__name__)

_POD_NAMES: Final = "workflows.argoproj.io/pod-name-format"
_RETRY_QUOTA: Final = 2.0
_PROGRESS_INTERVAL: Final = 3.0
_FINAL: Final = ("Succeeded", "Failed", "Error")


def controllers(context: Context) -> list[Controller]:
    """The controllers of this room."""
    reconciler = WorkflowReconciler(context)
    context.informers.of(PODS).add_handler(reconciler.pod_changed)
    context.informers.of(WORKFLOWS).add_handler(reconciler.workflow_changed)
    workflows = WorkflowController(
        "workflow", WORKFLOWS, reconciler.reconcile, owns=[PODS], workers=8
    )
    workflows.errands = reconciler.errands = Errands(
        ErrandWork(context.client, store_of(context.settings.artifacts_uri)), workflows.wake
    )
    workflows.locks = reconciler.locks
    reconciler.locks.wake = workflows.wake
    return [workflows, cron_controller(context)]


@dataclass
class WorkflowController(Controller):
    """The controller of Workflows, which owns their errands and locks as well."""

    errands: Errands | None = None
    locks: LockKeeper | None = None

    async def run(self, informers: Informers) -> None:
        """Reconciles until cancelled; errands under way are cancelled with it."""
        async with asyncio.TaskGroup() as group:
            if self.errands is not None:
                self.errands.within(group)
            if self.locks is not None:
                group.create_task(self.locks.ask(), name="limits of semaphores")
            await super().run(informers)


class WorkflowReconciler:
    """Brings Workflows forward."""

    errands: Errands

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._workflows = context.informers.of(WORKFLOWS)
        self._pods = context.informers.of(PODS)
        self._recorder = context.recorder("workflow-controller")
        self._store = store_of(context.settings.artifacts_uri)
        self._runs: dict[str, Run] = {}
        self._news: dict[str, dict[str, PodObservation]] = {}
        self._pod_work = PodWork(context.client, context.clock, self._found_pod)
        self._completion = Completion(context)
        self._belongings = Belongings(context.client)
        self._offload = Offload(context)
        self._artifact_gc = ArtifactGC(context, self._store, self._offload)
        self._gone: set[str] = set()
        self._caches = MemoCaches(context.client, context.clock)
        self._metering = Metering(context)
        self.locks = LockKeeper(context)
        self._swept = False

    def pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Notes news of a pod for the next reconciliation of its Workflow."""
        pod = new or old
        owner = controller_of(pod) if pod is not None else None
        if pod is None or owner is None or owner.get("kind") != WORKFLOWS.kind:
            return
        run = self._runs.get(owner["uid"])
        if run is not None and uid(pod) not in run.replaced:
            seen = observe_pod(pod, deleted=new is None)
            if seen is not None:
                self._news.setdefault(owner["uid"], {})[seen.node_id] = seen

    def workflow_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Takes back the locks of a Workflow that is no more, and notes that its nodes may go."""
        if new is None and old is not None:
            self.locks.release(key_of(old))
            self._metering.forget(uid(old))
            if is_offloaded(old):
                self._gone.add(uid(old))

    def _found_pod(self, workflow_uid: str, seen: PodObservation) -> None:
        """A pod of before a crash, of which nobody may have told yet."""
        self._news.setdefault(workflow_uid, {}).setdefault(seen.node_id, seen)

    async def reconcile(self, key: Key) -> Result | None:
        """Takes in what happened to one Workflow and does what follows."""
        workflow = self._workflows.get(*key)
        if workflow is None or deletion_requested(workflow):
            self._forget_missing()
            gone, self._gone = self._gone, set()
            await self._offload.forget(gone)
            if workflow is not None:
                self._runs.pop(uid(workflow), None)
                await self._artifact_gc.reconcile(workflow)
            return None
        if (workflow.get("status") or {}).get("phase") in _FINAL:
            self._runs.pop(uid(workflow), None)
            self._news.pop(uid(workflow), None)
            self.errands.forget(uid(workflow))
            self.locks.release(key)
            await self._artifact_gc.reconcile(workflow)
            return await self._completion.reconcile(workflow)
        run = self._runs.get(uid(workflow))
        if run is not None and (run.execution.finished or not run.takes(workflow)):
            # Somebody else has written it, or set it back after its end.
            self._runs.pop(uid(workflow))
            run = None
        if run is None:
            run = await self._load(workflow)
            if run is None:
                return None
        begun = self._clock.monotonic()
        try:
            result = await self._advance(run)
            self._metering.operated(self._clock.monotonic() - begun)
            return result
        except BaseException:
            # What is in memory may be half-done; what is stored is not.
            self._runs.pop(uid(workflow), None)
            raise

    def _forget_missing(self) -> None:
        alive = {uid(workflow) for workflow in self._workflows.list()}
        for key in [key for key in self._runs if key not in alive]:
            self._runs.pop(key)
            self._news.pop(key, None)
            self.errands.forget(key)

    async def _load(self, workflow: Obj) -> Run | None:
        if workflow.get("status"):
            fresh = await self._client.find(WORKFLOWS, name(workflow), namespace(workflow))
            if fresh is None or uid(fresh) != uid(workflow):
                return None
            workflow = fresh
            if (workflow.get("status") or {}).get("phase") in _FINAL:
                return None
        template_spec: Obj | None = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec")
        reference = workflow["spec"].get("workflowTemplateRef")
        if reference and template_spec is None:
            kind = "cluster" if reference.get("clusterScope") else "namespaced"
            template_spec = await self._fetch(kind, reference.get("name", ""), workflow)
            if template_spec is None:
                await self._refuse(workflow, reference)
                return None
        version: int | None = None
        if is_offloaded(workflow):
            workflow = await self._offload.hydrated(workflow)
            version = int(workflow["status"]["offloadNodeStatusVersion"])
        run = self._runs[uid(workflow)] = Run(workflow, template_spec, self._store, version)
        seen = [s for pod in await self._present_pods(run) if (s := observe_pod(pod)) is not None]
        self._news[uid(workflow)] = {s.node_id: s for s in seen}
        return run

    async def _present_pods(self, run: Run) -> list[Obj]:
        """The pods of a Workflow; of one that was set back, those there really are.

        Its former pods have the names of those to come, and the cache may not know yet that they
        are gone.
        """
        workflow = run.workflow
        cached = self._pods.owned_by(uid(workflow))
        status = workflow.get("status") or {}
        if not status or status.get("phase"):
            return cached
        selector = f"{LABEL_WORKFLOW}={name(workflow)}"
        found = await self._client.list(PODS, namespace(workflow), labels=selector)
        present = [pod for pod in found.items if is_owned_by(pod, workflow)]
        run.replaced = {uid(pod) for pod in cached} - {uid(pod) for pod in present}
        return present

    async def _open_nodes(self) -> NodeStore:
        """The store of offloaded nodes; at first, what was deleted while nobody watched goes."""
        store = await self._offload.store()
        if not self._swept:
            self._swept = True
            await store.sweep([uid(workflow) for workflow in self._workflows.list()])
        return store

    async def _refuse(self, workflow: Obj, reference: Obj) -> None:
        resource = (
            CLUSTER_WORKFLOW_TEMPLATES if reference.get("clusterScope") else WORKFLOW_TEMPLATES
        )
        message = f'{resource.qualified} "{reference.get("name")}" not found'
        run = Run(workflow, {}, self._store)
        self._end_early(run, message)
        run.template_spec = None
        await self._write(run)

    def _end_early(self, run: Run, message: str) -> None:
        """Ends a Workflow before anything of it has begun."""
        execution = run.execution
        execution.now = self._clock.now()
        execution.started_at = execution.started_at or execution.stamp()
        execution.end("Error", message)

    async def _advance(self, run: Run) -> Result | None:
        execution = run.execution
        if not run.claimed:
            await self._make_belongings(run)
            if execution.finished:
                await self._write(run)
                return None
        seen = list(self._news.pop(uid(run.workflow), {}).values())
        await self._read_large(seen, namespace(run.workflow))
        run.over += [one for one in seen if one.over]
        await self._look_at_progress(run)
        run.todo.add(await self._decide(run, seen, self.errands.results(uid(run.workflow))))
        while await self._open_gates(run):
            run.todo.add(await self._decide(run, ()))
        self._send_errands(run)
        await self._pod_work.create(run)
        await self._fill_caches(run)
        if run.todo.measured:
            problem = self._metering.record(run.workflow, run.todo.measured)
            run.todo.measured.clear()
            if problem:
                execution.metrics_error, execution.status_changed = problem, True
        urgent = execution.phase != run.writer.phase or bool(run.todo.stop or run.todo.end)
        waited = self._clock.monotonic() - run.written_at
        if run.unwritten and (urgent or waited >= run.write_interval):
            await self._write(run)
            await self._pod_work.stop(run)
            await self._pod_work.end(run)
            self._pod_work.note_garbage(run)
            waited = 0.0
        if execution.finished:
            return None
        await self._pod_work.remove_garbage(run)
        if run.overtaken:
            self._runs.pop(uid(run.workflow), None)
            return Result(0.0)
        return self._next(run, waited)

    async def _open_gates(self, run: Run) -> bool:
        """Locks what can be locked and looks into caches; whether the execution has news."""
        if await self.locks.serve(run.execution):
            run.todo.add(await self._decide(run, ()))
            # Who holds what has to be known before anything is done with it.
            await self._write(run)
            return True
        return await self._caches.look_up(run.execution, namespace(run.workflow))

    async def _fill_caches(self, run: Run) -> None:
        for key, node in list(run.todo.remember.items()):
            if problem := await self._caches.save(node, namespace(run.workflow)):
                await self._recorder.warning(run.workflow, "CacheNotWritten", problem)
            del run.todo.remember[key]

    def _send_errands(self, run: Run) -> None:
        for errand in run.todo.errands.values():
            self.errands.start(run.workflow, errand)
        for node_id in run.todo.give_up:
            self.errands.cancel(run.workflow, node_id)
        run.todo.errands.clear()
        run.todo.give_up.clear()

    async def _decide(
        self,
        run: Run,
        seen: Sequence[PodObservation],
        results: Sequence[ErrandResult] = (),
    ) -> Actions:
        while True:
            try:
                return run.execution.advance(self._clock.now(), seen, results)
            except Missing as missing:
                found = await self._fetch(missing.kind, missing.name, run.workflow)
                run.execution.library.objects[missing.kind, missing.name] = found

    async def _fetch(self, kind: str, wanted: str, workflow: Obj) -> Obj | None:
        where = namespace(workflow)
        match kind:
            case "configmap":
                return await self._client.find(CONFIG_MAPS, wanted, where)
            case "cluster":
                found = await self._client.find(CLUSTER_WORKFLOW_TEMPLATES, wanted)
            case _:
                found = await self._client.find(WORKFLOW_TEMPLATES, wanted, where)
        return found["spec"] if found is not None else None

    async def _read_large(self, seen: Iterable[PodObservation], where: str) -> None:
        for observation in seen:
            if observation.report.stored:
                await asyncio.to_thread(fetch_stored, observation, self._store, where)

    async def _look_at_progress(self, run: Run) -> None:
        """Reads, now and then, what running steps say about how far they are."""
        files = run.execution.progress_files
        now = self._clock.monotonic()
        if files and now - run.progress_read_at >= _PROGRESS_INTERVAL:
            run.progress_read_at = now
            where = namespace(run.workflow)
            said = await asyncio.to_thread(read_progress, dict(files), self._store, where)
            for node_id, text in said.items():
                run.execution.report_progress(node_id, text)

    async def _make_belongings(self, run: Run) -> None:
        try:
            run.execution.claims = await self._belongings.make(run.workflow, run.execution.spec)
        except NoClaim as problem:
            self._end_early(run, str(problem))
        run.claimed = True

    async def _write(self, run: Run) -> None:
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
            await self._announce(run)

    async def _tell_failures(self, run: Run) -> None:
        """A step's failure is an event of its Workflow, as upstream; its success is not."""
        for key, node in list(run.todo.failed.items()):
            message = f"{node.phase} node {node.name}" + (
                f": {node.message}" if node.message else ""
            )
            await self._recorder.warning(run.workflow, f"WorkflowNode{node.phase}", message)
            del run.todo.failed[key]

    async def _announce(self, run: Run) -> None:
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
        if phase == "Running":
            await self._recorder.normal(workflow, "WorkflowRunning", "Workflow Running")
        elif phase == "Succeeded":
            await self._recorder.normal(workflow, "WorkflowSucceeded", "Workflow completed")
        else:
            message = run.execution.message or f"Workflow {phase.lower()}"
            await self._recorder.warning(workflow, f"Workflow{phase}", message)

    def _next(self, run: Run, waited: float) -> Result | None:
        times: list[float] = []
        if run.unwritten:
            times.append(run.write_interval - waited)
        if run.todo.create:
            times.append(_RETRY_QUOTA)
        if uid(run.workflow) in self._news:
            times.append(0.0)
        if run.execution.progress_files:
            times.append(_PROGRESS_INTERVAL)
        if run.over and not run.unwritten:
            self._pod_work.note_garbage(run)
        for due in filter(None, (run.execution.wake_at, run.garbage.next)):
            times.append(max(0.0, (due - self._clock.now()) / dt.timedelta(seconds=1)))
        return Result(min(times)) if times else None


def _metadata(run: Run) -> Obj:
    """The Workflow's own labels and annotations; a mistake in them stops nothing."""
    try:
        metadata = run.execution.metadata
    except Unresolved as problem:
        log.warning("workflow %s: workflowMetadata: %s", name(run.workflow), problem)
        metadata = {"labels": {}, "annotations": {}}
    metadata["annotations"][_POD_NAMES] = "v2"
    if reference := run.workflow["spec"].get("workflowTemplateRef"):
        kind = "cluster-workflow-template" if reference.get("clusterScope") else "workflow-template"
        metadata["labels"].setdefault(f"workflows.argoproj.io/{kind}", reference["name"])
    return metadata
