"""The edge of runs: reads the API, lets executions decide, and does what they say.

The order of writes makes a crash harmless. Pods are created first: their names follow from the
tasks, so creating them again finds them. Then the nodes are stored, then the Run's status is
written. A pod whose end was stored is never looked at again; one whose end was not is found in the
API, because pods stay until their Run is deleted, with their logs.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kubeling.artifacts.errors import ArtifactError, NoRoom
from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deletion_requested,
    key_of,
    name,
    namespace,
    parse_time,
    uid,
)
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES, PODS
from kubeling.pipelines.active import ActiveRun, UnusableRun
from kubeling.pipelines.cache_lookup import look_up
from kubeling.pipelines.caching import CacheRules
from kubeling.pipelines.execution import Actions
from kubeling.pipelines.executor_io import OutputsError, attempt_folder, read_outputs
from kubeling.pipelines.launcher import CONFIG_MAP, Launcher, LauncherError, launcher
from kubeling.pipelines.nodes import TaskError
from kubeling.pipelines.observation import deleted_pod, observe_pod
from kubeling.pipelines.packages import Package, unwrap
from kubeling.pipelines.records import FINAL_STATES, RunRecord
from kubeling.pipelines.resources import RUNS, RunSpec, decode_run
from kubeling.pipelines.run_state import run_status
from kubeling.pipelines.saving import RunSaving
from kubeling.pipelines.settings import PipelineSettings, pipeline_settings
from kubeling.pipelines.sightings import CacheSeen, PodSeen, Sighting
from kubeling.pipelines.surroundings import cache_rules
from kubeling.pipelines.task_pods import TaskPods

if TYPE_CHECKING:
    from kubeling.metadata.database import Database
    from kubeling.pipelines.store import RunStore

__all__ = ["RunReconciler", "run_controller"]

_QUOTA_PAUSE: Final = 2.0


def run_controller(context: Context) -> Controller:
    """The controller of Runs."""
    reconciler = RunReconciler(context)
    context.informers.of(PODS).add_handler(reconciler.pod_changed)
    return Controller(
        "pipeline-run",
        RUNS,
        reconciler.reconcile,
        owns=[PODS],
        workers=8,
        begun=reconciler.is_in_hand,
    )


class RunReconciler:
    """Brings Runs forward."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._clock = context.clock
        self._runs = context.informers.of(RUNS)
        self._pods = context.informers.of(PODS)
        self._recorder = context.recorder("pipeline-controller")
        self._pods_of_tasks = TaskPods(context)
        self._saving = RunSaving(context.client, self._recorder, context.clock)
        self._active: dict[str, ActiveRun] = {}
        self._news: dict[str, dict[str, tuple[Obj, bool]]] = {}
        self._store: RunStore | None = None
        self._swept = False

    def is_in_hand(self, key: Key) -> bool:
        """Whether a Run has begun, or is gone; those that have not wait for those that have."""
        run = self._runs.get(*key)
        return run is None or uid(run) in self._active

    def pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Notes news of a pod for the next reconciliation of its Run."""
        pod = new or old
        owner = controller_of(pod) if pod is not None else None
        if pod is not None and owner is not None and owner["uid"] in self._active:
            self._news.setdefault(owner["uid"], {})[name(pod)] = (pod, new is None)

    async def _open_store(self) -> RunStore:
        if self._store is None:
            database = await self._context.open_database()
            self._store = await asyncio.to_thread(_store_on, database)
        return self._store

    async def reconcile(self, key: Key) -> Result | None:
        """Takes in what happened to one Run and does what follows."""
        run = self._runs.get(*key)
        store = await self._open_store()
        await self._sweep(store)
        if run is None or deletion_requested(run):
            await self._forget_missing(key, store)
            if run is None:
                await store.close_deleted(*key, self._clock.now())
            return None
        if _is_done(run):
            self._forget(run)
            return await self._expire(run)
        try:
            active = self._active.get(uid(run)) or await self._load(run, store)
            if active.record.epoch < decode_run(run).retries:
                self._forget(run)
                active = await self._load(run, store)
            active.run = run
            return await self._advance(active, store)
        except NoRoom:
            self._forget(run)
            raise
        except (UnusableRun, ArtifactError) as error:
            await self._refuse(run, store, str(error))
            return None
        except BaseException:
            # What is in memory may be half-done; what is stored is not.
            self._forget(run)
            raise

    async def _expire(self, run: Obj) -> Result | None:
        """Deletes a Run whose pipeline says how long it is kept; its record and logs stay."""
        moment = (run.get("status") or {}).get("expiresAt")
        if not moment:
            return None
        wait = (parse_time(moment) - self._clock.now()).total_seconds()
        if wait > 0:
            return Result(wait)
        await self._client.delete(
            RUNS, name(run), namespace(run), propagation="Background", uid=uid(run), missing_ok=True
        )
        return None

    # Taking a run in hand.

    async def _load(self, run: Obj, store: RunStore) -> ActiveRun:
        spec = decode_run(run)
        package = await _package(spec, store)
        rules = await self._cache_rules(run, package)
        record, nodes = await store.load(run, package.wrapped, self._clock.now())
        stores = await self._launcher(run)
        active = ActiveRun(
            run, spec, package, self._context.artifacts, record, nodes, rules, stores
        )
        self._active[uid(run)] = active
        pods = {name(pod): (pod, False) for pod in self._pods.owned_by(uid(run))}
        self._news[uid(run)] = pods
        await self._find_missing(active, pods)
        return active

    async def _cache_rules(self, run: Obj, package: Package) -> CacheRules:
        around = await self._client.find(NAMESPACES, namespace(run))
        try:
            return cache_rules(package.platform, run, around, self._settings().cache_age)
        except ValueError as error:
            raise UnusableRun(str(error)) from None

    async def _launcher(self, run: Obj) -> Launcher:
        found = await self._client.find(CONFIG_MAPS, CONFIG_MAP, namespace(run))
        try:
            patience = parse_duration(self._settings().store_patience)
            return replace(launcher(found), patience=patience)
        except LauncherError as error:
            raise UnusableRun(str(error)) from None

    def _settings(self) -> PipelineSettings:
        return pipeline_settings(self._context.settings.rooms.get("pipelines", {}), os.environ)

    async def _find_missing(self, active: ActiveRun, pods: dict[str, tuple[Obj, bool]]) -> None:
        """Looks for pods that ought to be there in the API itself; the cache may lag."""
        facts = active.execution.facts
        for node in active.execution.nodes.values():
            if node.stage != "pod" or node.final or node.pod in pods:
                continue
            found = await self._client.find(PODS, node.pod, facts.namespace)
            if found is not None:
                pods[node.pod] = (found, False)
                continue
            node.stage = "launch" if node.state == "PENDING" else node.stage
            if node.stage == "pod":
                error = TaskError(f"pod {node.pod} was deleted", 10)
                seen = PodSeen(node.path, node.attempt, node.epoch, "Failed", node.pod, error=error)
                active.execution.advance(self._clock.now(), [seen])

    def _forget(self, run: Obj) -> None:
        self._active.pop(uid(run), None)
        self._news.pop(uid(run), None)

    async def _forget_missing(self, key: Key, store: RunStore) -> None:
        alive = {uid(run) for run in self._runs.list()}
        for run_id, active in list(self._active.items()):
            if key_of(active.run) == key and run_id not in alive:
                del self._active[run_id]
                self._news.pop(run_id, None)
                await self._saving.save_left(active, store)

    async def _sweep(self, store: RunStore) -> None:
        """Once: ends the records of runs that were deleted while no controller ran."""
        if self._swept:
            return
        self._swept = True
        for where, run_name in await store.unfinished():
            if await self._client.find(RUNS, run_name, where) is None:
                await store.close_deleted(where, run_name, self._clock.now())

    # One turn.

    async def _advance(self, active: ActiveRun, store: RunStore) -> Result | None:
        execution = active.execution
        execution.terminating = decode_run(active.run).terminate
        seen = await self._look(active)
        actions = await self._decide(active, store, seen)
        held_back, no_room = False, ""
        while actions.launch:
            launched = await self._pods_of_tasks.launch(active, actions.launch)
            held_back |= launched.held_back
            no_room = no_room or launched.no_room
            for pod in launched.found:
                self._news.setdefault(uid(active.run), {}).setdefault(name(pod), (pod, False))
            if not launched.seen:
                break
            actions = await self._decide(active, store, launched.seen)
        await self._pods_of_tasks.stop(active, actions.stop)
        await self._saving.save(active, store)
        await self._tell_no_room(active, no_room)
        if active.record.state in FINAL_STATES:
            self._forget(active.run)
            return None
        return self._next(active, actions, held_back)

    async def _look(self, active: ActiveRun) -> list[Sighting]:
        news = self._news.get(uid(active.run), {})
        self._news[uid(active.run)] = {}
        seen: list[PodSeen] = []
        for pod, is_gone in news.values():
            sighting = deleted_pod(pod) if is_gone else observe_pod(pod)
            node = active.execution.nodes.get(sighting.path) if sighting else None
            if sighting is not None and node is not None and not node.final:
                seen.append(sighting)
        if any(s.phase == "Succeeded" for s in seen):
            return list(await asyncio.to_thread(self._with_outputs, active, seen))
        return list(seen)

    def _with_outputs(self, active: ActiveRun, seen: Sequence[PodSeen]) -> list[PodSeen]:
        return [self._outputs_of(active, s) if s.phase == "Succeeded" else s for s in seen]

    def _outputs_of(self, active: ActiveRun, seen: PodSeen) -> PodSeen:
        execution = active.execution
        node = execution.nodes[seen.path]
        folder = attempt_folder(execution.facts.folder, node)
        identity = (execution.facts.run_id, seen.path, str(seen.epoch), str(seen.attempt))
        try:
            component = execution.component_of(node)
            artifacts = attempt_folder(execution.facts.store_root or execution.facts.folder, node)
            outputs = read_outputs(self._context.artifacts, component, folder, artifacts, identity)
        except OutputsError as error:
            return seen.with_error(TaskError(str(error)))
        return seen.with_outputs(outputs)

    async def _decide(
        self, active: ActiveRun, store: RunStore, seen: Sequence[Sighting]
    ) -> Actions:
        actions = active.execution.advance(self._clock.now(), seen)
        while actions.look_up:
            answers = await look_up(
                store, self._context.artifacts, active.execution, actions.look_up
            )
            await self._tell_hits(active, answers)
            actions = active.execution.advance(self._clock.now(), answers)
        return actions

    async def _tell_hits(self, active: ActiveRun, answers: Sequence[CacheSeen]) -> None:
        """One event, however many tasks were answered; the tasks themselves say more."""
        hits = [answer for answer in answers if answer.outputs is not None]
        if len(hits) == 1:
            text = f"Task {hits[0].path}: {hits[0].reason}"
        else:
            paths = ", ".join(hit.path for hit in hits)
            text = f"{len(hits)} tasks take outputs of earlier ones, same inputs and code: {paths}"
        if hits:
            await self._recorder.normal(active.run, "TasksCached", text)

    async def _tell_no_room(self, active: ActiveRun, why: str) -> None:
        """Once, when it begins: the tasks say it as long as it lasts."""
        if why and not active.told_no_room:
            await self._recorder.warning(active.run, "DiskFull", f"Tasks wait for room: {why}")
        active.told_no_room = bool(why)

    async def _refuse(self, run: Obj, store: RunStore, message: str) -> None:
        """Ends a run that cannot begin."""
        now = self._clock.now()
        before, _ = await store.load(run, run["spec"].get("pipelineSpec") or {}, now)
        stamp = now.isoformat().replace("+00:00", "Z")
        history = [*before.state_history, {"update_time": stamp, "state": "FAILED"}]
        record = RunRecord("FAILED", message, before.epoch, history, now)
        await store.save(run, [], record, now)
        status = run_status(run.get("status") or {}, record, None, uid(run), now)
        await self._client.patch_status(RUNS, name(run), status, namespace(run))
        await self._recorder.warning(run, "RunFailed", message)
        self._forget(run)

    def _next(self, active: ActiveRun, actions: Actions, held_back: bool) -> Result | None:
        times = list(self._saving.due(active))
        if held_back:
            times.append(_QUOTA_PAUSE)
        if self._news.get(uid(active.run)):
            times.append(0.0)
        if actions.wake_at is not None:
            wait = (actions.wake_at - self._clock.now()) / dt.timedelta(seconds=1)
            times.append(max(0.0, wait))
        return Result(min(times)) if times else None


def _store_on(database: Database) -> RunStore:
    from kubeling.pipelines.store import RunStore

    return RunStore(database)


async def _package(spec: RunSpec, store: RunStore) -> Package:
    """What a Run is to run; raises :class:`UnusableRun`."""
    document = spec.pipeline_spec
    if document is None and (reference := spec.pipeline_version_reference) is not None:
        document = await store.version_spec(reference.pipeline_id, reference.pipeline_version_id)
        if document is None:
            raise UnusableRun(
                f"pipelineVersionReference: Not found: pipeline {reference.pipeline_id} has no "
                f"version {reference.pipeline_version_id}".rstrip()
            )
    elif spec.platform_spec:
        document = {"pipeline_spec": document, "platform_spec": spec.platform_spec}
    try:
        return await asyncio.to_thread(unwrap, document)
    except ValueError as error:
        raise UnusableRun(f"the pipeline cannot be run: {error}") from None


def _is_done(run: Obj) -> bool:
    status = run.get("status") or {}
    return (
        status.get("state") in FINAL_STATES and status.get("retries", 0) >= decode_run(run).retries
    )
