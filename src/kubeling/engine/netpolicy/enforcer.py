"""Holds the pods' networks to the policies there are, from their first moment on.

Level-triggered: whatever changes (a policy, a pod's labels, a namespace's, a Service) asks for one
more turn, and a turn works everything out anew and writes the networks whose filter is another
than before, each in one step. What is in the kernel stays there while the platform is away; the
first turn of the next one brings it up to date.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubeling.engine.net.netlink import Route
from kubeling.engine.net.pool import NetworkPool, PodNetwork
from kubeling.engine.netpolicy.compiling import isolations
from kubeling.engine.netpolicy.isolation import OPEN
from kubeling.engine.netpolicy.members import Member, name_server, pod_member
from kubeling.engine.netpolicy.places import Places, Routes
from kubeling.engine.netpolicy.report import Report
from kubeling.engine.netpolicy.ruleset import Filter, requests
from kubeling.engine.netpolicy.spans import Spans, number_of, spans_of_block, united
from kubeling.engine.netpolicy.verdicts import Verdicts
from kubeling.engine.podspec import is_finished
from kubeling.engine.servicenet.proxy import Plane
from kubeling.engine.workloads.writing import all_of
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Key, Obj, key_of, labels, name, uid
from kubeling.kube.resources import NAMESPACES, NETWORK_POLICIES, PODS

__all__ = ["PolicyEnforcer"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Placed:
    """A pod in a network of its own; ``written`` is unknown after a restart."""

    pod: Obj
    network: PodNetwork
    written: Filter | None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    held: asyncio.Event = field(default_factory=asyncio.Event)


class PolicyEnforcer:
    """The policies of one node's pods. All methods belong to one event loop."""

    def __init__(self, networks: NetworkPool | None, dns: str = "", services: str = "") -> None:
        self._networks = networks
        self._servers: list[Member] = [name_server(dns)] if dns else []
        self._places = Places(dns)
        self._services: Spans = spans_of_block(services) if services else ()
        self._informers: Informers | None = None
        self._report: Report | None = None
        self._placed: dict[str, _Placed] = {}
        self._found: dict[str, Obj] = {}
        self._verdicts = Verdicts()
        self._filtered = False
        self._plane: Plane | None = None
        self._wake = asyncio.Event()
        self.ready = asyncio.Event()
        """Set once what existed at the start is held."""

    async def run(self, informers: Informers, report: Report) -> None:
        """Follows the policies until cancelled."""
        self._informers, self._report = informers, report
        await informers.synced(NETWORK_POLICIES, NAMESPACES, PODS)
        self._remember_pods(informers.of(PODS).list())
        informers.of(NETWORK_POLICIES).add_handler(lambda _old, _new: self._wake.set())
        informers.of(NAMESPACES).add_handler(self._namespace_changed)
        informers.of(PODS).add_handler(self._pod_changed)
        while True:
            self._wake.clear()
            try:
                await self._turn()
            except Exception:
                # One policy's defect must not end the platform, nor keep pods from starting; what
                # was held before is held on.
                log.exception("network policies could not be brought up to date")
                for placed in self._placed.values():
                    placed.held.set()
            self.ready.set()
            await self._wake.wait()

    async def settled(self) -> None:
        """Returns when what existed at the start is held."""
        await self.ready.wait()

    async def tell(self, plane: Plane) -> None:
        """Whom to tell what holds: connections through Services are led by it."""
        self._plane = plane
        await plane.judge(self._verdicts if self._filtered else None)

    def offer(self, service: Key, routes: Routes) -> None:
        """Where a Service is listened for now, and what is behind each place."""
        if self._places.offer(service, routes) and self._filtered:
            self._wake.set()

    async def enter(self, pod: Obj, network: PodNetwork | None, *, fresh: bool) -> None:
        """A pod has been given its network; returns when that holds what the policies say.

        ``fresh`` is false for one that is found again with what is in it.
        """
        await self.settled()
        self._found.pop(uid(pod), None)
        assert self._report is not None
        if network is None:
            self._report.without_network(pod)
            self._wake.set()
            return
        placed = self._placed[uid(pod)] = _Placed(pod, network, Filter() if fresh else None)
        if not fresh or self._policies():
            self._wake.set()
            await placed.held.wait()

    async def leave(self, pod_uid: str) -> None:
        """A pod's processes have ended; its network can be another's."""
        if self._report is not None:
            self._report.forget(pod_uid)
        placed = self._placed.pop(pod_uid, None)
        if placed is None:
            return
        async with placed.lock:
            if placed.written != Filter():
                await self._write(placed, Filter())
        if self._filtered:
            self._wake.set()

    # One turn.

    async def _turn(self) -> None:
        policies = self._policies()
        if self._networks is not None:
            await self._adopt(self._judge(policies))
            await all_of(self._hold(placed) for placed in self._in_order())
        assert self._report is not None
        await self._report.bring_up_to_date(policies)

    async def _adopt(self, verdicts: Verdicts) -> None:
        changed, self._verdicts = verdicts != self._verdicts, verdicts
        self._filtered = bool(verdicts.isolations)
        if changed and self._plane is not None:
            await self._plane.judge(verdicts if self._filtered else None)

    def _in_order(self) -> list[_Placed]:
        """Those that wait to start their containers come first."""
        return sorted(self._placed.values(), key=lambda placed: placed.held.is_set())

    async def _hold(self, placed: _Placed) -> None:
        wanted = self._filter(number_of(placed.network.address))
        async with placed.lock:
            if self._placed.get(uid(placed.pod)) is placed and placed.written != wanted:
                await self._write(placed, wanted)
        placed.held.set()

    def _judge(self, policies: Sequence[Obj]) -> Verdicts:
        if not policies:
            return Verdicts()
        assert self._informers is not None
        known = {name(found): labels(found) for found in self._informers.of(NAMESPACES).list()}
        found = isolations(self._members(), self._servers, policies, known)
        return Verdicts(found, _node_addresses(), self._services)

    def _filter(self, address: int) -> Filter:
        verdicts = self._verdicts
        if not self._filtered:
            return Filter()
        isolation = verdicts.isolations.get(address, OPEN)
        closed = verdicts.closed_to(address, self._places.all())
        if isolation == OPEN and not closed:
            return Filter()
        return Filter(isolation, closed, united((*verdicts.node, *verdicts.services)))

    async def _write(self, placed: _Placed, wanted: Filter) -> None:
        assert self._networks is not None
        assert self._report is not None
        try:
            await self._networks.filter(placed.network, requests(wanted))
        except OSError as error:
            log.warning("network policies of pod %s: %s", key_of(placed.pod), error)
            self._report.refused(placed.pod, str(error.strerror or error))
        else:
            self._report.accepted(placed.pod)
            placed.written = wanted

    # What there is.

    def _policies(self) -> list[Obj]:
        assert self._informers is not None
        return self._informers.of(NETWORK_POLICIES).list()

    def _members(self) -> list[Member]:
        for placed in self._placed.values():
            placed.pod = self._latest(placed.pod)
        found = [pod_member(p.pod, p.network.address) for p in self._placed.values()]
        lost = map(self._latest, self._found.values())
        return [*found, *(pod_member(pod, pod["status"]["podIP"]) for pod in lost)]

    def _latest(self, pod: Obj) -> Obj:
        assert self._informers is not None
        latest = self._informers.of(PODS).get(*key_of(pod))
        return latest if latest is not None and uid(latest) == uid(pod) else pod

    def _remember_pods(self, pods: Sequence[Obj]) -> None:
        """Pods that live on are peers before their workers have found them again."""
        if self._networks is None:
            return
        network = spans_of_block(str(self._networks.subnet.network))[0]
        for pod in pods:
            address = (pod.get("status") or {}).get("podIP")
            if address and not is_finished(pod) and network[0] <= number_of(address) <= network[1]:
                self._found[uid(pod)] = pod

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """A pod that comes enters, and one that goes leaves: this is about those that stay."""
        if old is None:
            return
        if self._found and (new is None or is_finished(new)):
            self._found.pop(uid(old), None)
        if new is not None and labels(old) != labels(new):
            self._wake.set()

    def _namespace_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is None or labels(old) != labels(new):
            self._wake.set()


def _node_addresses() -> Spans:
    with contextlib.suppress(OSError):
        found = [number_of(address) for address in Route().addresses()]
        return united([*((n, n) for n in found), *spans_of_block("127.0.0.0/8")])
    return spans_of_block("127.0.0.0/8")
