"""The edge of the workflows room: reads the API, lets executions decide, and does what they say.

Per Workflow one :class:`Run` is kept in memory; it can be thrown away at any time. The order of
writes makes a crash harmless: pods are created (their names follow from the nodes) before the
status mentions them, and deleted only after it has their results. The status is written at once
when the phase changes and otherwise at most every :data:`~.run.WRITE_INTERVAL` seconds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.informer import Informers
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deletion_requested,
    key_of,
    namespace,
    uid,
)
from kubeling.kube.resources import NAMESPACES, PODS
from kubeling.workflows.admittance import Admittance
from kubeling.workflows.artifact_gc import ArtifactGC
from kubeling.workflows.belongings import Belongings, NoClaim
from kubeling.workflows.completion import Completion
from kubeling.workflows.cron_controller import cron_controller
from kubeling.workflows.errands import ErrandResult, Errands
from kubeling.workflows.errandwork import ErrandWork
from kubeling.workflows.execution import Actions
from kubeling.workflows.loading import FINAL, Loader
from kubeling.workflows.memoization import MemoCaches
from kubeling.workflows.metering import Metering
from kubeling.workflows.observation import PodObservation, observe_pod
from kubeling.workflows.offload import Offload, is_offloaded
from kubeling.workflows.podwork import PodWork
from kubeling.workflows.recording import Recording
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.run import Run
from kubeling.workflows.settings import WorkflowSettings
from kubeling.workflows.store import fetch_stored, read_progress, store_of
from kubeling.workflows.synchronization import LockKeeper
from kubeling.workflows.templates import Missing

__all__ = ["WorkflowReconciler", "controllers"]

_PROGRESS_INTERVAL: Final = 3.0


def controllers(context: Context) -> list[Controller]:
    """The controllers of this room."""
    reconciler = WorkflowReconciler(context)
    context.informers.of(PODS).add_handler(reconciler.pod_changed)
    context.informers.of(WORKFLOWS).add_handler(reconciler.workflow_changed)
    context.informers.of(NAMESPACES).add_handler(reconciler.admittance.namespace_changed)
    workflows = WorkflowController(
        "workflow",
        WORKFLOWS,
        reconciler.reconcile,
        owns=[PODS],
        watches={NAMESPACES: lambda _: ()},
        workers=8,
    )
    workflows.errands = reconciler.errands = Errands(
        ErrandWork(context.client, store_of(context.settings.artifacts_uri)),
        context.clock,
        workflows.wake,
    )
    workflows.locks = reconciler.locks
    reconciler.locks.wake = reconciler.admittance.wake = workflows.wake
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
        self._recorder = context.recorder("workflow-controller")
        self._store = store_of(context.settings.artifacts_uri)
        self._runs: dict[str, Run] = {}
        self._news: dict[str, dict[str, PodObservation]] = {}
        rate = WorkflowSettings.of(context.settings).resource_rate_limit
        self._pod_work = PodWork(context.client, context.clock, self._found_pod, rate)
        self._completion = Completion(context)
        self._belongings = Belongings(context.client)
        self._offload = Offload(context)
        self._loader = Loader(context, self._store, self._offload)
        self._artifact_gc = ArtifactGC(context, self._store, self._offload)
        self._gone: set[str] = set()
        self._caches = MemoCaches(context.client, context.clock)
        self._metering = Metering(context)
        self._recording = Recording(context, self._offload, self._metering)
        self.locks = LockKeeper(context)
        self.admittance = Admittance(context)

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
            self.admittance.release(key_of(old))
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
        if (workflow.get("status") or {}).get("phase") in FINAL:
            self._runs.pop(uid(workflow), None)
            self._news.pop(uid(workflow), None)
            self.errands.forget(uid(workflow))
            self.locks.release(key)
            self.admittance.release(key)
            await self._artifact_gc.reconcile(workflow)
            return await self._completion.reconcile(workflow)
        if not await self.admittance.admits(workflow):
            return None
        run = self._runs.get(uid(workflow))
        if run is not None and (run.execution.finished or not run.takes(workflow)):
            # Somebody else has written it, or set it back after its end.
            self._runs.pop(uid(workflow))
            run = None
        if run is None:
            loaded = await self._loader.load(workflow)
            if loaded is None:
                return None
            run, present = loaded
            if run.execution.finished:
                await self._recording.write(run)
                return None
            self._runs[uid(workflow)] = run
            self._news[uid(workflow)] = {seen.node_id: seen for seen in present}
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

    async def _advance(self, run: Run) -> Result | None:
        execution = run.execution
        if not run.claimed:
            await self._make_belongings(run)
            if execution.finished:
                await self._recording.write(run)
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
            await self._recording.write(run)
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
            await self._recording.write(run)
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
                found = await self._loader.fetch(missing.kind, missing.name, run.workflow)
                run.execution.library.objects[missing.kind, missing.name] = found

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
            run.end_early(self._clock.now(), str(problem))
        run.claimed = True

    def _next(self, run: Run, waited: float) -> Result | None:
        times: list[float] = []
        if run.unwritten:
            times.append(run.write_interval - waited)
        if run.todo.create:
            times.append(self._pod_work.retry_after)
        if uid(run.workflow) in self._news:
            times.append(0.0)
        if run.execution.progress_files:
            times.append(_PROGRESS_INTERVAL)
        if run.over and not run.unwritten:
            self._pod_work.note_garbage(run)
        for due in filter(None, (run.execution.wake_at, run.garbage.next)):
            times.append(max(0.0, (due - self._clock.now()) / dt.timedelta(seconds=1)))
        return Result(min(times)) if times else None
