"""The node agent: takes pods that fit, runs a worker for each, and cleans up behind them.

It is scheduler and kubelet in one, because there is one node. Pods that do not fit are tried again
whenever something is freed or changes, never by polling.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from kubeling.engine.admitting import Decision, Scheduler, Start
from kubeling.engine.gangs import POD_GROUPS
from kubeling.engine.memoryvolumes import detach_all
from kubeling.engine.paths import PodPaths
from kubeling.engine.podspec import is_finished, spec
from kubeling.engine.services import NodeServices
from kubeling.engine.trees import remove_tree
from kubeling.engine.worker import PodWorker, read_record
from kubeling.kube.errors import ApiError, Conflict, lacks_room
from kubeling.kube.objects import (
    Obj,
    deletion_requested,
    key_of,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import (
    CONFIG_MAPS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    SERVICES,
)

__all__ = ["NodeAgent"]

log = logging.getLogger(__name__)

_ROOM_PAUSE: Final = 2.0

_DATA: Final = (CONFIG_MAPS, SECRETS)
"""What pods read in when they need it; here only that it has changed counts."""

_PATIENCE: Final = 1.0
"""Seconds before a pod says that its group is not complete."""


class NodeAgent:
    """Runs the pods of one node."""

    def __init__(self, node: NodeServices, node_object: Obj) -> None:
        self._node = node
        self._scheduler = Scheduler(node, node_object)
        self._admitting: asyncio.Handle | None = None
        self._patient: set[str] = set()
        self._workers: dict[str, PodWorker] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def worker(self, pod_uid: str) -> PodWorker | None:
        """The worker of a pod that has not ended."""
        return self._workers.get(pod_uid)

    @property
    def workers(self) -> list[PodWorker]:
        return list(self._workers.values())

    async def run(self) -> None:
        """Runs pods until cancelled. Their processes live on; a new agent finds them."""
        informers = self._node.informers
        async with asyncio.TaskGroup() as self._tasks:
            for resource in (PERSISTENT_VOLUME_CLAIMS, SERVICES):
                informers.of(resource)
            data = [informers.metadata_of(resource) for resource in _DATA]
            await informers.synced(PODS, PERSISTENT_VOLUME_CLAIMS, SERVICES)
            for informer in data:
                await informer.wait_synced()
            self._forget_lost_pods()
            self._hold_what_runs()
            # Before there are pods to be told of all that is there already.
            for informer in data:
                informer.add_handler(self._data_changed)
            informers.of(PERSISTENT_VOLUME_CLAIMS).add_handler(self._claim_changed)
            informers.of(PODS).add_handler(self._pod_changed)
            informers.of(NODES).add_handler(self._node_changed)
            informers.of(POD_GROUPS).add_handler(self._group_changed)
            await asyncio.get_running_loop().create_future()

    # What the watches say.

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and (new is None or uid(new) != uid(old)):
            self._pod_gone(old)
        if new is None:
            return
        if (worker := self._workers.get(uid(new))) is not None:
            self._scheduler.ledger.update(new)
            worker.update(new)
            return
        assigned = spec(new).get("nodeName")
        if assigned and assigned != self._node.config.node_name:
            return
        if is_finished(new) or (deletion_requested(new) and not assigned):
            self._scheduler.forget(uid(new))
            if deletion_requested(new):
                self._spawn(self._remove(new), f"remove {key_of(new)}")
        elif assigned or self._is_on_disk(new):
            self._take(new, bind=not assigned)
        elif self._scheduler.wait(new):
            self._admit(new)

    def _pod_gone(self, pod: Obj) -> None:
        self._scheduler.forget(uid(pod))
        if (worker := self._workers.get(uid(pod))) is not None:
            worker.disappear()
        else:
            self._spawn(self._clean_up(uid(pod)), f"clean up {key_of(pod)}")

    def _claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is None or not _same(old, new):
            self._data_changed(old, new)

    def _data_changed(self, old: Obj | None, new: Obj | None) -> None:
        changed = new or old
        assert changed is not None
        for worker in self._workers.values():
            if namespace(worker.pod) == namespace(changed):
                worker.sources_changed()

    def _node_changed(self, _: Obj | None, new: Obj | None) -> None:
        """Labels and cordoning decide what fits."""
        if new is not None and name(new) == self._node.config.node_name:
            self._scheduler.node_object = new
            self._admit_soon()

    def _group_changed(self, _: Obj | None, __: Obj | None) -> None:
        """How many pods start together decides whether they do."""
        self._admit_soon()

    # Scheduling.

    def _admit(self, pod: Obj) -> bool:
        """Takes a waiting pod if it fits, else says why not, or makes room."""
        decision = self._scheduler.decide(pod)
        if isinstance(decision, Start):
            for each in decision.pods:
                self._scheduler.forget(uid(each))
                self._take(each, bind=True)
            return True
        if decision.is_news:
            what = f"unschedulable {key_of(pod)}"
            later = decision.early
            tell = self._tell_later(pod) if later else self._scheduler.carry_out(pod, decision)
            self._spawn(tell, what)
        return False

    async def _tell_later(self, pod: Obj) -> None:
        """Most pods of a group that is not complete are started a moment later."""
        if uid(pod) in self._patient:
            return
        self._patient.add(uid(pod))
        await self._node.clock.sleep(_PATIENCE)
        self._patient.discard(uid(pod))
        latest = self._scheduler.waits(uid(pod))
        decision = self._scheduler.decide(latest) if latest is not None else None
        if latest is not None and isinstance(decision, Decision) and decision.is_news:
            await self._scheduler.carry_out(latest, decision)

    def _admit_soon(self) -> None:
        """Looks at the waiting pods once for all that is freed in a turn of the loop."""
        if self._admitting is None:
            self._admitting = asyncio.get_running_loop().call_soon(self._admit_waiting)

    def _admit_waiting(self) -> None:
        self._admitting = None
        refused: set[bytes] = set()
        for pod in self._scheduler.waiting():
            if self._scheduler.waits(uid(pod)) is None:
                continue  # It started with another of its group.
            alike = self._scheduler.signature(pod)
            if alike not in refused and not self._admit(pod) and alike:
                refused.add(alike)
                if len(refused) == self._scheduler.sorts:
                    break  # The others are all like one of these.
        for worker in self._workers.values():
            worker.look_again()

    def _take(self, pod: Obj, *, bind: bool) -> None:
        self._scheduler.ledger.hold(pod)
        worker = self._workers[uid(pod)] = PodWorker(self._node, pod, self._scheduler.ledger)
        self._spawn(self._run_worker(worker), f"pod {key_of(pod)}")
        if bind:
            self._spawn(self._bind(pod), f"bind {key_of(pod)}")

    async def _bind(self, pod: Obj) -> None:
        node_name = self._node.config.node_name
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name(pod), "uid": uid(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node_name},
        }
        try:
            await self._node.client.create_subresource(
                PODS, name(pod), namespace(pod), "binding", binding
            )
        except (ApiError, ConnectionError) as error:
            # Deleted meanwhile, or the server is going: the watch will say what counts.
            log.info("pod %s was not bound: %s", key_of(pod), error)
            return
        where = f"{namespace(pod)}/{name(pod)} to {node_name}"
        self._scheduler.events.normal(pod, "Scheduled", f"Successfully assigned {where}")

    # The life of a worker.

    async def _run_worker(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except OSError as error:
            if not lacks_room(error):
                raise
            self._spawn(self._take_again(worker.pod, error), f"pod {key_of(worker.pod)} again")
            return
        finally:
            del self._workers[worker.uid]
        self._node.devices.release(worker.uid)
        if self._scheduler.ledger.release(worker.uid):
            self._admit_soon()
        latest = self._node.informers.of(PODS).get(*key_of(worker.pod))
        if latest is None or uid(latest) != worker.uid:
            await self._clean_up(worker.uid)
        elif deletion_requested(latest) or deletion_requested(worker.pod):
            await self._remove(latest)

    async def _take_again(self, pod: Obj, error: OSError) -> None:
        """A full disk has kept a worker from writing; another begins from what is there."""
        what = error.filename or self._node.config.paths.pod(uid(pod)).root
        text = f"the disk that holds {what} is full: free some space; it is tried again"
        log.warning("pod %s: %s", key_of(pod), text)
        self._scheduler.events.warning(pod, "DiskFull", text)
        await self._node.clock.sleep(_ROOM_PAUSE)
        latest = self._node.informers.of(PODS).get(*key_of(pod))
        if latest is None or uid(latest) != uid(pod):
            await self._clean_up(uid(pod))
        elif uid(pod) not in self._workers:
            self._take(latest, bind=not spec(latest).get("nodeName"))

    async def _remove(self, pod: Obj) -> None:
        """Nothing of the pod runs any more: lets its object go, then its files."""
        try:
            await self._node.client.delete(
                PODS, name(pod), namespace(pod), grace_period_seconds=0, uid=uid(pod),
                missing_ok=True,
            )  # fmt: skip
        except Conflict:
            log.debug("pod %s has a successor of its name", key_of(pod))
        except (ApiError, ConnectionError) as error:
            log.warning("pod %s could not be removed: %s", key_of(pod), error)

    async def _clean_up(self, pod_uid: str) -> None:
        paths, memory = self._node.config.paths.pod(pod_uid), self._node.memory
        await asyncio.to_thread(_remove_if_there, paths, memory and memory / pod_uid)

    def _forget_lost_pods(self) -> None:
        """Ends and removes what was left by pods that were deleted while no agent ran."""
        known = {uid(pod) for pod in self._node.informers.of(PODS).list()}
        folder = self._node.config.paths.pods
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name not in known:
                self._spawn(self._end_lost(entry.name), f"lost pod {entry.name}")

    def _hold_what_runs(self) -> None:
        """Pods from before keep what they have: none that waits may take it meanwhile."""
        for pod in self._node.informers.of(PODS).list():
            record = read_record(self._node.config.paths.pod(uid(pod)))
            if record is not None and not is_finished(pod):
                self._scheduler.ledger.hold(pod)
                self._node.devices.hold(uid(pod), record.devices)

    async def _end_lost(self, pod_uid: str) -> None:
        paths = self._node.config.paths.pod(pod_uid)
        for attempt in paths.all_attempts():
            await self._node.runtime.end(attempt)
        record = read_record(paths)
        if record is not None and record.octet and self._node.networks is not None:
            network = self._node.networks.claim(record.octet)
            if network is not None:
                await self._node.networks.release(network, reuse=False)
        await self._clean_up(pod_uid)

    # Small things.

    def _is_on_disk(self, pod: Obj) -> bool:
        return read_record(self._node.config.paths.pod(uid(pod))) is not None

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        assert self._tasks is not None
        self._tasks.create_task(_contained(work, what), name=what)


async def _contained(work: Coroutine[Any, Any, None], what: str) -> None:
    """One pod's failure must not end the others; what was done for it is on disk."""
    try:
        await work
    except (ApiError, ConnectionError) as error:
        log.warning("%s: %s", what, error)
    except Exception:
        log.exception("%s failed", what)


def _same(old: Obj, new: Obj) -> bool:
    """Whether a claim is what it was, for the pods that use it."""
    return all(old.get(key) == new.get(key) for key in ("spec", "status"))


def _remove_if_there(paths: PodPaths, memory: Path | None) -> None:
    if memory is not None and memory.exists():
        remove_tree(memory)
    if paths.root.exists():
        detach_all(paths.volumes)
        remove_tree(paths.root)
