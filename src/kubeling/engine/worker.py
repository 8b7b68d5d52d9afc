"""One pod's worker: observes, decides, acts, reports — until the pod is over.

The worker is level-triggered. Anything that happens (a container's end, a probe, an edit, a
deletion) only wakes it; what to do follows from the state alone, so an agent that was killed goes
on where it finds things. What a restart could not find again is in ``pod.json``.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kubeling.engine.atomic import write_file
from kubeling.engine.containers import RunningContainer
from kubeling.engine.devices import NoDevice
from kubeling.engine.fields import PodFacts
from kubeling.engine.instance import LEAST_GRACE_SECONDS, ContainerInstance
from kubeling.engine.memoryvolumes import memory_volumes
from kubeling.engine.net.pool import PodNetwork, PoolExhausted
from kubeling.engine.notready import NotReady
from kubeling.engine.paths import PodPaths
from kubeling.engine.pods import Decision, PodState, StopReason, decide
from kubeling.engine.podspec import (
    all_containers,
    ephemeral_containers,
    grace_seconds,
    init_containers,
    main_containers,
    restart_policy,
    spec,
)
from kubeling.engine.preparation import Preparation
from kubeling.engine.pulling import can_have_network, processes_of
from kubeling.engine.refusals import not_honoured
from kubeling.engine.resizing import changed_containers, reserve
from kubeling.engine.scheduler import Ledger
from kubeling.engine.security import has_root, missing_walls
from kubeling.engine.services import NodeServices
from kubeling.engine.sharing import HOLDER, hold_processes, shares_processes
from kubeling.engine.status import PodPlacement, StatusExtra, pod_status
from kubeling.engine.storagelimits import exceeded, has_storage_limits
from kubeling.kube.errors import ApiError, Conflict, NotFound
from kubeling.kube.objects import (
    Obj,
    deletion_requested,
    name,
    namespace,
    resource_version,
    uid,
)
from kubeling.kube.resources import PODS

__all__ = ["PodRecord", "PodWorker"]

log = logging.getLogger(__name__)

# A pod that ends within this time is reported once instead of twice, and where there are many, all
# take longer; one that is meant to stay is waited for by others.
_SETTLE_SECONDS: Final = 0.1
_SETTLE_SECONDS_PER_POD: Final = 0.005
_SETTLE_SECONDS_OF_SERVERS: Final = 0.02
_RETRY_SECONDS: Final = 1.0
_EVICTION_GRACE_SECONDS: Final = 1.0


class PodRecord(msgspec.Struct, frozen=True):
    """What cannot be found again from processes and files (``pod.json``)."""

    namespace: str
    name: str
    started_at: float
    pod_ip: str = ""
    octet: int = 0
    reusable: bool = True
    devices: dict[str, dict[str, list[str]]] = {}


class PodWorker:
    """Runs one pod that this node has taken."""

    def __init__(self, node: NodeServices, pod: Obj, account: Ledger) -> None:
        """``account`` is the node's, in which the pod has its share."""
        self.uid = uid(pod)
        self._node = node
        self._pod = pod
        self._paths = node.config.paths.pod(self.uid)
        self._wake = asyncio.Event()
        self._gone = False
        self._preparation = Preparation(node, self._paths)
        self._record: PodRecord | None = None
        self._network: PodNetwork | None = None
        self._stop_begun: float | None = None
        self._published: Obj | None = None
        self._publish_at: float | None = None
        self._volumes_stale = False
        self._evicted = ""
        self._watching: asyncio.Task[None] | None = None
        self._holder: RunningContainer | None = None
        self._account = account
        self._resizing: Obj | None = None
        self.instances: dict[str, ContainerInstance] = {}
        self._add_instances()

    @property
    def pod(self) -> Obj:
        """The pod as last seen."""
        return self._pod

    @property
    def network(self) -> PodNetwork | None:
        """The pod's own network, if it has one."""
        return self._network

    def update(self, pod: Obj) -> None:
        """The object has changed."""
        if resource_version(pod) == resource_version(self._pod):
            return  # by this worker, which knows
        if _described(pod) != _described(self._pod):
            self._volumes_stale = True
        self._pod = pod
        self._wake.set()

    def look_again(self) -> None:
        """Something of the node is free again that a resize may wait for."""
        if self._resizing is not None:
            self._wake.set()

    def disappear(self) -> None:
        """The object is gone: everything of the pod has to go, at once."""
        self._gone = True
        self._wake.set()

    def sources_changed(self) -> None:
        """Something the pod may refer to has changed."""
        self._volumes_stale = True
        for instance in self.instances.values():
            instance.retry_now()
        self._wake.set()

    async def run(self) -> None:
        """Runs the pod until it has finished or its object is gone."""
        try:
            await self._place()
            if has_storage_limits(self._pod):
                self._watching = asyncio.create_task(self._watch_storage())
            while not await self._step():
                pass
            await self._finish()
        finally:
            if self._watching is not None:
                self._watching.cancel()
            if self._holder is not None:
                self._holder.release()
            await asyncio.gather(*(i.close() for i in self.instances.values()))

    # One turn: observe, decide, act, report, wait.

    async def _step(self) -> bool:
        """Returns whether the pod is over and said so."""
        self._wake.clear()
        self._add_instances()
        await self._update_containers()
        if shares_processes(self._pod) and self._node.walls.processes:
            await self._hold_processes()
        now = self._node.now()
        state = PodState({n: i.state for n, i in self.instances.items()}, self._stopping(now))
        decision = decide(self._pod, state, now, self._node.backoff)
        self._act(decision, now)
        if state.stopping is not None:
            for instance in self.instances.values():
                instance.abandon_start()
        busy = any(instance.busy for instance in self.instances.values())
        over = decision.finished and not busy
        if self._volumes_stale:
            await self._refresh_volumes()
        await self._report(state, decision, now, urgent=over)
        if over and (self._publish_at is None or self._gone):
            return True
        await self._sleep(decision)
        return False

    def _stopping(self, now: float) -> StopReason | None:
        if self._gone or deletion_requested(self._pod):
            return "Deleted"
        if self._evicted:
            return "Evicted"
        deadline = self._deadline()
        return "DeadlineExceeded" if deadline is not None and now >= deadline else None

    async def _watch_storage(self) -> None:
        """Evicts the pod once it keeps more than it may."""
        while not self._evicted:
            await self._node.clock.sleep(self._node.config.storage_check_seconds)
            self._evicted = await asyncio.to_thread(exceeded, self._pod, self._paths)
        self._node.events.warning(self._pod, "Evicted", self._evicted)
        self._wake.set()

    def _deadline(self) -> float | None:
        seconds = spec(self._pod).get("activeDeadlineSeconds")
        return None if seconds is None else self._facts_record.started_at + float(seconds)

    def _act(self, decision: Decision, now: float) -> None:
        facts = self._facts()
        if decision.stop and self._stop_begun is None:
            self._stop_begun = now
        for container in decision.stop:
            left = self._grace_left(now)
            if left <= (0 if self._gone else -LEAST_GRACE_SECONDS):
                self.instances[container].kill()
            else:
                self.instances[container].stop(facts, max(left, 0.0))
                decision.look_again(now + left + LEAST_GRACE_SECONDS)
        network = str(self._network.file) if self._network else ""
        for container in decision.start:
            if not self.instances[container].busy:
                beside = self._beside(container)
                self.instances[container].start(facts, self._preparation, network, beside)
        for container, delay in decision.backing_off.items():
            self._tell_back_off(container, delay)

    def _add_instances(self) -> None:
        """Containers can be added to a pod that runs."""
        for container in all_containers(self._pod):
            name = container["name"]
            if name not in self.instances:
                wake = self._wake.set
                self.instances[name] = ContainerInstance(self._node, container, self._paths, wake)

    async def _update_containers(self) -> None:
        """An image or resources may be others than those of the container that runs."""
        if self._record is None or deletion_requested(self._pod):
            return
        facts = self._facts()
        for container in (*init_containers(self._pod), *main_containers(self._pod)):
            instance = self.instances[container["name"]]
            if container.get("image") != instance.container.get("image"):
                instance.replace(facts, container)
        actual = {n: i.resources for n, i in self.instances.items() if i.resources is not None}
        changed = list(changed_containers(self._pod, actual))
        if not changed:
            self._resizing = None
            return
        if (pending := reserve(self._account, self._pod)) is not None:
            self._tell_resize(pending.condition())
            return
        wrong = [w for c in changed if (w := await self.instances[c["name"]].resize(facts, c))]
        if wrong:
            self._tell_resize({"type": "PodResizeInProgress", "reason": "Error",
                               "message": wrong[0]})  # fmt: skip
        else:
            self._resizing = None
            text = f"Pod resize completed: {', '.join(c['name'] for c in changed)}"
            self._node.events.normal(self._pod, "ResizeCompleted", text)

    def _tell_resize(self, condition: Obj) -> None:
        if condition != self._resizing:
            self._resizing = condition
            reason = f"Resize{condition['reason']}"
            self._node.events.warning(self._pod, reason, condition["message"])

    async def _hold_processes(self) -> None:
        if self._holder is None or self._holder.ended:
            node, place = self._node, self._paths.container(HOLDER, 0)
            self._holder = await hold_processes(node.supervisors, node.walls, self._pod, place)

    def _beside(self, name: str) -> int:
        """The process whose ids a container joins, or 0."""
        if self._holder is not None:
            return self._holder.pid
        added = next((c for c in ephemeral_containers(self._pod) if c["name"] == name), {})
        target = self.instances.get(added.get("targetContainerName") or "")
        return target.running.pid if target is not None and target.running is not None else 0

    def _grace_left(self, now: float) -> float:
        if self._gone:
            return 0.0
        assert self._stop_begun is not None
        grace = _EVICTION_GRACE_SECONDS if self._evicted else grace_seconds(self._pod)
        return self._stop_begun + grace - now

    def _tell_back_off(self, container: str, delay: float) -> None:
        waiting = (self._published or {}).get("containerStatuses") or ()
        if any("waiting" in s["state"] for s in waiting if s["name"] == container):
            return
        self._node.events.warning(
            self._pod,
            "BackOff",
            f"Back-off restarting failed container {container} in pod {name(self._pod)}",
        )

    async def _sleep(self, decision: Decision) -> None:
        moments = [
            moment
            for moment in (
                decision.wake_at,
                self._publish_at,
                self._preparation.refresh_at,
                self._deadline() if self._stop_begun is None else None,
            )
            if moment is not None
        ]
        if not moments:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(max(min(moments) - self._node.now(), 0.0)):
                await self._wake.wait()
        except TimeoutError:
            refresh_at = self._preparation.refresh_at
            if refresh_at is not None and self._node.now() >= refresh_at:
                self._volumes_stale = True

    # Placing and finding again.

    @property
    def _facts_record(self) -> PodRecord:
        assert self._record is not None, "a pod is placed before anything else"
        return self._record

    async def _place(self) -> None:
        """Gives the pod its folder and address, or finds those it has."""
        found = read_record(self._paths)
        if found is not None and found.octet and self._node.networks is not None:
            self._network = self._node.networks.claim(found.octet)
        has_place = found is not None and (self._network is not None or not found.octet)
        self._record = found if has_place else await self._new_record(found)
        await self._node.policies.enter(self._pod, self._network, fresh=not has_place)
        self._preparation.granted = self._facts_record.devices
        facts = self._facts()
        if not has_place:
            self._paths.root.mkdir(exist_ok=True)
            self._write_record()
        if found is None:
            self._tell_missing_walls()
            return
        try:
            await self._preparation.volumes(facts)
        except NotReady as error:
            log.info("pod %s/%s: %s", namespace(self._pod), name(self._pod), error)
        for instance in self.instances.values():
            await instance.adopt(facts)

    def _write_record(self) -> None:
        write_file(self._paths.record, msgspec.json.encode(self._record))

    async def _new_record(self, before: PodRecord | None) -> PodRecord:
        """A fresh place; a pod from before a reboot has lost its network but not its age."""
        address, octet = self._node.host_ip, 0
        wanted = self._node.networks is not None and not spec(self._pod).get("hostNetwork")
        if wanted and await can_have_network(self._node, self._pod):
            assert self._node.networks is not None
            try:
                self._network = await self._node.networks.acquire()
                address, octet = self._network.address, self._network.octet
            except (PoolExhausted, OSError) as error:
                self._node.events.warning(self._pod, "FailedCreatePodSandBox", str(error))
        return PodRecord(
            namespace(self._pod),
            name(self._pod),
            before.started_at if before else self._node.now(),
            address,
            octet,
            reusable=not _may_change_network(self._pod),
            devices=before.devices if before else self._allocate(),
        )

    def _allocate(self) -> dict[str, dict[str, list[str]]]:
        try:
            return self._node.devices.allocate(self.uid, self._pod)
        except NoDevice as error:
            # The ledger counts the same devices: only a declaration changed under a pod gets here.
            self._node.events.warning(self._pod, "UnexpectedAdmissionError", str(error))
            return {}

    def _facts(self) -> PodFacts:
        record = self._facts_record
        return PodFacts(
            self._pod,
            record.pod_ip,
            self._node.host_ip,
            self._node.config.node_name,
            self._node.allocatable,
        )

    def _tell_missing_walls(self) -> None:
        own_network = self._network is not None
        ignored = not_honoured(self._pod, own_network=own_network)
        if ignored:
            self._node.events.warning(self._pod, "NotHonoured", "; ".join(ignored))
        missing = missing_walls(self._pod, self._node.walls)
        if missing:  # of containers, the engine takes care
            missing = missing_walls(processes_of(self._node, self._pod), self._node.walls)
        if self._node.config.isolation:
            missing = [*self._missing_places(), *missing]
        if missing:
            self._node.events.warning(self._pod, "ReducedIsolation", "; ".join(missing))

    def _missing_places(self) -> list[str]:
        missing = []
        mounts = any(c.get("volumeMounts") for c in all_containers(self._pod))
        if not self._node.walls.files and mounts:
            missing.append(f"volumes are not at their mount paths but under {self._paths.volumes}")
        volumes = memory_volumes(self._pod)
        if volumes and not has_root(self._node.walls):
            missing.append(f"emptyDir {', '.join(volumes)} is on disk: medium Memory needs root")
        ports = any(c.get("ports") for c in main_containers(self._pod))
        wanted = self._node.config.pod_networks and not spec(self._pod).get("hostNetwork")
        if self._network is None and wanted and ports:
            missing.append("ports are the machine's own and can clash")
        return missing

    async def _refresh_volumes(self) -> None:
        if not any(instance.running for instance in self.instances.values()):
            # Those being started may have read what it was before.
            return
        self._volumes_stale = False
        try:
            await self._preparation.volumes(self._facts())
        except NotReady as error:
            self._node.events.warning(self._pod, error.event, error.event_message)

    # Reporting.

    async def _report(
        self, state: PodState, decision: Decision, now: float, *, urgent: bool
    ) -> None:
        """Says what the pod has become: at once, or with what else comes in a moment."""
        if not urgent:
            if self._publish_at is None:
                self._publish_at = now + self._settle_seconds()
            if now < self._publish_at:
                return
        status = self._status(state, decision)
        if self._gone or status == self._published:
            self._publish_at = None
        else:
            await self._publish(status)

    def _status(self, state: PodState, decision: Decision) -> Obj:
        record = self._facts_record
        placement = PodPlacement(
            self._node.host_ip,
            record.pod_ip,
            dt.datetime.fromtimestamp(record.started_at, dt.UTC),
        )
        images = {n: i.image_id for n, i in self.instances.items()}
        extra = StatusExtra(
            images,
            {n: i.resources for n, i in self.instances.items() if i.resources},
            self._evicted,
            self._resizing,
        )
        return pod_status(self._pod, state, decision, placement, extra, self._node.utc())

    def _settle_seconds(self) -> float:
        if restart_policy(self._pod) == "Always":
            return _SETTLE_SECONDS_OF_SERVERS
        return _SETTLE_SECONDS + _SETTLE_SECONDS_PER_POD * len(self._account.pods)

    async def _publish(self, status: Obj) -> None:
        metadata = {"uid": self.uid}
        if spec(self._pod).get("readinessGates"):
            # Somebody else writes conditions of this pod: none of them may be lost.
            metadata["resourceVersion"] = self._pod["metadata"]["resourceVersion"]
        body = {"metadata": metadata, "status": status}
        try:
            answer = await self._node.client.patch(
                PODS, name(self._pod), body, namespace(self._pod), subresource="status"
            )
            if _wanted(answer) != _wanted(self._pod):
                self._wake.set()  # somebody wrote in between, and that news may not come
            self._pod = answer
            self._published, self._publish_at = status, None
        except (NotFound, Conflict):
            # Deleted, or another pod of that name: the watch will say so too.
            self._publish_at = self._node.now() + _RETRY_SECONDS
        except (ApiError, ConnectionError) as error:
            log.warning("status of pod %s: %s", name(self._pod), error)
            self._publish_at = self._node.now() + _RETRY_SECONDS

    # The end.

    async def _finish(self) -> None:
        """Gives the address back; what is left of the pod is its files."""
        await self._node.policies.leave(self.uid)
        if self._holder is not None:
            self._holder.kill()
            await self._holder.wait()
        if self._network is not None and self._node.networks is not None:
            os.rename(self._paths.record, self._paths.ended)
            await self._node.networks.release(self._network, reuse=self._facts_record.reusable)
            self._network = None


def read_record(paths: PodPaths) -> PodRecord | None:
    """The record of a pod found on disk, if it got that far."""
    for path in (paths.record, paths.ended):
        with contextlib.suppress(FileNotFoundError):
            record = msgspec.json.decode(path.read_bytes(), type=PodRecord)
            return record if path == paths.record else msgspec.structs.replace(record, octet=0)
    return None


def _wanted(pod: Obj) -> tuple[Any, ...]:
    """What users have asked of a pod, as far as it can change."""
    metadata = pod["metadata"]
    return metadata.get("generation"), metadata.get("deletionTimestamp"), *_described(pod)


def _described(pod: Obj) -> tuple[Any, Any]:
    """What of the object's own description can change while the pod runs."""
    return pod["metadata"].get("labels"), pod["metadata"].get("annotations")


def _may_change_network(pod: Obj) -> bool:
    """Whether a container may leave the network other than it found it."""
    if (spec(pod).get("securityContext") or {}).get("sysctls"):
        return True
    contexts: Iterable[Obj] = (c.get("securityContext") or {} for c in all_containers(pod))
    return any(
        context.get("privileged") or (context.get("capabilities") or {}).get("add")
        for context in contexts
    )
