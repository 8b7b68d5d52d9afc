"""The scheduler of the one node: which pod is next, and what is done for one that does not fit.

Pods are tried in the order of their priority, then of their age. A pod that takes others' places
is nominated: until it has its place, nobody of lower priority gets it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kubeling.engine.gangs import GANG_SCHEDULER, Gangs, gathered, group_of, minimum_of
from kubeling.engine.podspec import priority, spec
from kubeling.engine.preemption import WAITS, preempt
from kubeling.engine.scheduler import DEFAULT_SCHEDULER, GATED, Ledger, refusal, said, signature
from kubeling.engine.services import NodeServices
from kubeling.engine.status import unscheduled_status
from kubeling.engine.storage.usage import claims_of_pod
from kubeling.engine.workloads.resources import POD_DISRUPTION_BUDGETS
from kubeling.kube.errors import ApiError, NotFound
from kubeling.kube.objects import Key, Obj, condition, format_time, labels, name, namespace, uid
from kubeling.kube.resources import NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PODS

__all__ = ["Decision", "Scheduler", "Start"]

_OURS: Final = (DEFAULT_SCHEDULER, GANG_SCHEDULER)
_HELPLESS: Final = "0/1 nodes are available: 1 Preemption is not helpful for scheduling."


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a pod waits, and whose place it takes; ``is_news`` if the pod does not say so yet.

    An ``early`` one may change in a moment: the pods of a group are made one after the other.
    """

    message: str
    gated: bool = False
    victims: tuple[Obj, ...] = ()
    is_news: bool = True
    early: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """The pods that start now: the one that was asked about, and those that start with it."""

    pods: Sequence[Obj]


class Scheduler:
    """Decides about the pods that have no node yet, and keeps the node's ledger."""

    def __init__(self, node: NodeServices, node_object: Obj) -> None:
        self.node_object = node_object
        self.ledger = Ledger(node.allocatable)
        self.events = node.scheduler_events
        self._node = node
        self._waiting: dict[str, Obj] = {}
        self._signatures: dict[str, bytes] = {}
        self._sorts: Counter[bytes] = Counter()
        self._order: list[str] | None = None
        self._nominated: dict[str, Obj] = {}
        self._victims: dict[str, frozenset[str]] = {}
        self._budgets = node.informers.of(POD_DISRUPTION_BUDGETS)
        self._namespaces = node.informers.of(NAMESPACES)
        self._claims = node.informers.of(PERSISTENT_VOLUME_CLAIMS)
        self._gangs = Gangs(node.informers)

    def wait(self, pod: Obj) -> bool:
        """Takes a pod into the queue, or its newest state; not one that others schedule."""
        if (spec(pod).get("schedulerName") or DEFAULT_SCHEDULER) not in _OURS:
            return False
        if uid(pod) not in self._waiting:
            self._order = None
        self._waiting[uid(pod)] = pod
        self._sign(uid(pod), signature(pod))
        if uid(pod) in self._nominated:
            self._nominated[uid(pod)] = pod
        return True

    def forget(self, pod_uid: str) -> None:
        """The pod waits no longer."""
        self._waiting.pop(pod_uid, None)
        self._sign(pod_uid, None)
        self._withdraw(pod_uid)

    def _sign(self, pod_uid: str, mark: bytes | None) -> None:
        if (before := self._signatures.pop(pod_uid, None)) is not None:
            self._sorts[before] -= 1
            if not self._sorts[before]:
                del self._sorts[before]
        if mark is not None:
            self._signatures[pod_uid] = mark
            self._sorts[mark] += 1

    def waiting(self) -> list[Obj]:
        """The pods to try, in order."""
        if self._order is None:
            self._order = list(map(uid, sorted(self._waiting.values(), key=_turn)))
        self._order = [pod_uid for pod_uid in self._order if pod_uid in self._waiting]
        return [self._waiting[pod_uid] for pod_uid in self._order]

    @property
    def sorts(self) -> int:
        """How many signatures the waiting pods have."""
        return len(self._sorts)

    def signature(self, pod: Obj) -> bytes:
        """What a waiting pod has in common with others that fit or do not fit as it does.

        Empty where each has to be looked at: a pod's labels decide whether others repel it.
        """
        return b"" if any(self.ledger.repelling) else self._signatures[uid(pod)]

    def waits(self, pod_uid: str) -> Obj | None:
        """The newest state of a pod, if it waits."""
        return self._waiting.get(pod_uid)

    def decide(self, pod: Obj) -> Decision | Start:
        """Whether the pod starts now, or why not."""
        if spec(pod).get("schedulingGates"):
            return self._decision(pod, GATED, gated=True)
        if group_of(pod):
            return self._decide_in_group(pod)
        held = self._reserved_for_others(pod)
        ledger = self.ledger.copy(held) if held else self.ledger
        exclusive = self._exclusive(pod)
        refused = refusal(pod, self.node_object, ledger, self._labels_of, exclusive)
        if refused is None:
            return Start((pod,))
        if refused.helpless:
            self._withdraw(uid(pod))
            return self._decision(pod, said(refused, _HELPLESS))
        if any(map(self.ledger.holds, self._victims.get(uid(pod), ()))):
            return self._decision(pod, said(refused, WAITS))
        found = preempt(pod, self.ledger.copy(held), self._budgets.list(), self._why_not(pod))
        if found.victims:
            self._nominated[uid(pod)] = pod
            self._victims[uid(pod)] = frozenset(map(uid, found.victims))
        return self._decision(pod, said(refused, found.why_not), victims=found.victims)

    def _decide_in_group(self, pod: Obj) -> Decision | Start:
        group = self._gangs.group(pod)
        if group is None:
            message = f'pod group "{group_of(pod)}" not found'
            return replace(self._decision(pod, message), early=True)
        started, others = self._gangs.others(pod)
        held = [other for other in others if self.ledger.holds(uid(other))]
        waiting = sorted(
            (o for o in others if uid(o) in self._waiting and not spec(o).get("schedulingGates")),
            key=_turn,
        )
        trial = self.ledger.copy(self._reserved_for_others(pod))
        found = gathered(pod, group, len(started) + len(held), waiting, trial, self._refuses)
        if not isinstance(found, str):
            return Start(found)
        incomplete = len(started) + len(others) + 1 < minimum_of(group)
        return replace(self._decision(pod, found), early=incomplete)

    def _refuses(self, pod: Obj, ledger: Ledger) -> str:
        exclusive = self._exclusive(pod)
        refused = refusal(pod, self.node_object, ledger, self._labels_of, exclusive)
        return said(refused) if refused else ""

    def _withdraw(self, pod_uid: str) -> None:
        self._nominated.pop(pod_uid, None)
        self._victims.pop(pod_uid, None)

    async def carry_out(self, pod: Obj, decision: Decision) -> None:
        """Takes the victims away, and writes down why the pod waits."""
        for victim in decision.victims:
            await self._evict(victim, pod)
        status = unscheduled_status(pod, decision.message, self._node.utc())
        if decision.victims:
            status["nominatedNodeName"] = self._node.config.node_name
        elif uid(pod) not in self._nominated:
            status["nominatedNodeName"] = None
        body = {"metadata": {"uid": uid(pod)}, "status": status}
        await self._node.client.patch(PODS, name(pod), body, namespace(pod), subresource="status")
        if not decision.gated:
            self.events.warning(pod, "FailedScheduling", decision.message)

    async def _evict(self, victim: Obj, preemptor: Obj) -> None:
        client, title, where = self._node.client, name(victim), namespace(victim)
        entry = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{DEFAULT_SCHEDULER}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": format_time(self._node.utc()),
        }
        body = {"metadata": {"uid": uid(victim)}, "status": {"conditions": [entry]}}
        try:
            await client.patch(PODS, title, body, where, type="strategic", subresource="status")
            await client.delete(PODS, title, where, uid=uid(victim))
        except NotFound:
            return
        except ApiError as error:
            self.events.warning(preemptor, "FailedPreemption", f"{where}/{title}: {error}")
            return
        message = f"Preempted by pod {uid(preemptor)} on node {self._node.config.node_name}"
        self.events.normal(victim, "Preempted", message)

    def _exclusive(self, pod: Obj) -> frozenset[Key]:
        """The claims of the pod that only one pod may use at a time."""
        named = {key: self._claims.get(*key) for key in claims_of_pod(pod)}
        return frozenset(key for key, claim in named.items() if claim and _for_one_pod(claim))

    def _why_not(self, pod: Obj) -> Callable[[Ledger], str]:
        exclusive = self._exclusive(pod)

        def ask(trial: Ledger) -> str:
            refused = refusal(pod, self.node_object, trial, self._labels_of, exclusive)
            return ", 1 ".join(sorted(refused.reasons)) if refused else ""

        return ask

    def _reserved_for_others(self, pod: Obj) -> list[Obj]:
        return [
            other
            for other in self._nominated.values()
            if uid(other) != uid(pod) and priority(other) >= priority(pod)
        ]

    def _labels_of(self, title: str) -> Mapping[str, str]:
        found = self._namespaces.get("", title)
        return labels(found) if found is not None else {}

    def _decision(
        self, pod: Obj, message: str, *, gated: bool = False, victims: Iterable[Obj] = ()
    ) -> Decision:
        before = condition(pod, "PodScheduled")
        found = tuple(victims)
        news = bool(found) or before is None or before.message != message
        return Decision(message, gated, found, news)


def _for_one_pod(claim: Obj) -> bool:
    return "ReadWriteOncePod" in ((claim.get("spec") or {}).get("accessModes") or ())


def _turn(pod: Obj) -> tuple[int, str, int]:
    metadata = pod["metadata"]
    created = metadata.get("creationTimestamp", "")
    return -priority(pod), created, int(metadata.get("resourceVersion") or 0)
