"""Whether a pod fits on the node, and the ledger of what the pods there have taken. Pure.

The filters are upstream's, in its order and words; the first that refuses ends the question. Some
refusals cannot be helped by taking pods away: then nobody is preempted for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from kubeling.engine.podaffinity import (
    NamespaceLabels,
    affinity_refusal,
    repels,
    spread_refusal,
)
from kubeling.engine.podspec import all_containers, pod_requests, priority, spec
from kubeling.engine.storage.usage import claims_of_pod
from kubeling.engine.taints import REPELLING, UNSCHEDULABLE, tolerating, untolerated
from kubeling.kube.nodeselectors import selects_node
from kubeling.kube.objects import Key, Obj, labels, namespace, uid
from kubeling.kube.quantities import Quantity

__all__ = [
    "DEFAULT_SCHEDULER",
    "GATED",
    "POD_GROUP",
    "Ledger",
    "Refusal",
    "refusal",
    "said",
    "selects",
    "signature",
    "unschedulable_reason",
]

POD_GROUP: Final = "scheduling.x-k8s.io/pod-group"
"""The label that names a pod's group: its pods start together."""

DEFAULT_SCHEDULER: Final = "default-scheduler"
GATED: Final = "Scheduling is blocked due to non-empty scheduling gates"
_ZERO: Final = Decimal(0)
_NONE: Final = "0/1 nodes are available: "
_CORDONED: Final = "node(s) were unschedulable"
_TAINTED: Final = "node(s) had untolerated taint(s)"
_ELSEWHERE: Final = "node(s) didn't match Pod's node affinity/selector"
_DECISIVE: Final = (
    "priority", "preemptionPolicy", "schedulingGates", "nodeSelector", "affinity", "tolerations",
    "topologySpreadConstraints", "overhead", "resources",
)  # fmt: skip
_PORTS: Final = "node(s) didn't have free ports for the requested pod ports"
_CLAIMED: Final = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)


class Refusal(NamedTuple):
    """Why the node does not take a pod; ``helpless`` if no pod's leaving would change that."""

    reasons: tuple[str, ...] = ()
    helpless: bool = False


class Ledger:
    """What is free on the node; pods hold their share from admission until they have ended."""

    def __init__(self, allocatable: Mapping[str, Quantity]) -> None:
        self.allocatable = dict(allocatable)
        self._shares: dict[str, dict[str, Quantity]] = {}
        self._taken: dict[str, Quantity] = {}
        self._pods: dict[str, Obj] = {}
        self._repelling: dict[str, Obj] = {}
        self._priorities: Counter[int] = Counter()

    @property
    def pods(self) -> list[Obj]:
        """The pods that hold something."""
        return list(self._pods.values())

    @property
    def repelling(self) -> Iterable[Obj]:
        """Those of them that keep other pods away."""
        return self._repelling.values()

    def holds(self, pod_uid: str) -> bool:
        """Whether a pod has its share."""
        return pod_uid in self._pods

    def holds_below(self, bound: int) -> bool:
        """Whether a pod of lower priority holds something."""
        return any(found < bound for found in self._priorities)

    def missing(self, pod: Obj) -> list[str]:
        """The resources there is not enough of for the pod, by name.

        What the pod holds itself counts as free.
        """
        own = self._shares.get(uid(pod), {})
        return sorted(
            name
            for name, amount in _share(pod).items()
            if amount > self._free(name) + own.get(name, _ZERO)
        )

    def lacks(self, pod: Obj) -> bool:
        """Whether the pod asks for more than the node has when it is empty."""
        return any(
            amount > self.allocatable.get(name, _ZERO) for name, amount in _share(pod).items()
        )

    def hold(self, pod: Obj) -> None:
        """Takes the pod's share, whether or not it is free (a pod found running has it)."""
        self.release(uid(pod))
        share = self._shares[uid(pod)] = _share(pod)
        for name, amount in share.items():
            self._taken[name] = self._taken.get(name, _ZERO) + amount
        self._pods[uid(pod)] = pod
        self._priorities[priority(pod)] += 1
        if repels(pod):
            self._repelling[uid(pod)] = pod

    def update(self, pod: Obj) -> None:
        """Follows what a pod has become; its share changes only by :meth:`hold`."""
        if uid(pod) not in self._pods:
            return
        self._pods[uid(pod)] = pod
        self._repelling.pop(uid(pod), None)
        if repels(pod):
            self._repelling[uid(pod)] = pod

    def release(self, pod_uid: str) -> bool:
        """Gives a pod's share back; returns whether it held one."""
        if (pod := self._pods.pop(pod_uid, None)) is not None:
            self._priorities[priority(pod)] -= 1
            if not self._priorities[priority(pod)]:
                del self._priorities[priority(pod)]
        self._repelling.pop(pod_uid, None)
        share = self._shares.pop(pod_uid, None)
        for name, amount in (share or {}).items():
            self._taken[name] -= amount
        return share is not None

    def copy(self, more: Iterable[Obj] = ()) -> Ledger:
        """A ledger to try things in; ``more`` pods hold their shares in it too."""
        other = Ledger(self.allocatable)
        other._shares, other._taken = dict(self._shares), dict(self._taken)
        other._pods, other._repelling = dict(self._pods), dict(self._repelling)
        other._priorities = self._priorities.copy()
        for pod in more:
            other.hold(pod)
        return other

    def _free(self, resource: str) -> Quantity:
        return self.allocatable.get(resource, _ZERO) - self._taken.get(resource, _ZERO)


def _share(pod: Obj) -> dict[str, Quantity]:
    return {"pods": Decimal(1), **pod_requests(pod)}


def refusal(
    pod: Obj,
    node: Obj,
    ledger: Ledger,
    namespaces: NamespaceLabels,
    exclusive: AbstractSet[Key] = frozenset(),
) -> Refusal | None:
    """Why the node does not take the pod; ``None`` if it does.

    ``exclusive`` are those of its claims that one pod at a time may use.
    """
    node_spec, tolerations = node.get("spec") or {}, spec(pod).get("tolerations") or ()
    cordon = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}
    if node_spec.get("unschedulable") and not tolerating(tolerations, cordon):
        return Refusal((_CORDONED,), helpless=True)
    if any(untolerated(node_spec.get("taints") or (), tolerations, REPELLING)):
        return Refusal((_TAINTED,), helpless=True)
    if not selects(pod, node):
        return Refusal((_ELSEWHERE,), helpless=True)
    # Few pods care about who else is here: the others are not asked to list their neighbours.
    others = ledger.pods if _is_particular(pod) else ()
    if _ports_clash(pod, others):
        return Refusal((_PORTS,))
    if exclusive and any(exclusive & set(claims_of_pod(p)) for p in ledger.pods if p is not pod):
        return Refusal((_CLAIMED,))
    if missing := ledger.missing(pod):
        texts = ("Too many pods" if m == "pods" else f"Insufficient {m}" for m in missing)
        return Refusal(tuple(texts), helpless=ledger.lacks(pod))
    for why, fewer_may_help in (
        spread_refusal(pod, node, others),
        affinity_refusal(pod, node, others, ledger.repelling, namespaces),
    ):
        if why:
            return Refusal((why,), helpless=not fewer_may_help)
    return None


def _is_particular(pod: Obj) -> bool:
    wanted = spec(pod)
    return bool(
        wanted.get("affinity") or wanted.get("topologySpreadConstraints") or any(_host_ports(pod))
    )


def signature(pod: Obj) -> bytes:
    """The same for pods of which the node takes all or none, but for how much is left of it."""
    wanted = spec(pod)
    containers = [[c.get("resources"), c.get("ports"), c.get("restartPolicy")]
                  for c in all_containers(pod)]  # fmt: skip
    own = [namespace(pod), labels(pod)] if _is_particular(pod) else []
    own += sorted(claims_of_pod(pod))
    if group := labels(pod).get(POD_GROUP):
        own += [namespace(pod), group]
    inits = len(wanted.get("initContainers") or ())
    decisive = [wanted.get(key) for key in _DECISIVE]
    return msgspec.json.encode([decisive, inits, containers, own], order="sorted")


def said(refused: Refusal, preemption: str = "") -> str:
    """A refusal in the scheduler's words, with what came of preemption."""
    listed = ", ".join(f"1 {reason}" for reason in sorted(refused.reasons))
    end = f" preemption: {preemption}" if preemption else ""
    return f"{_NONE}{listed}.{end}"


def unschedulable_reason(pod: Obj, node: Obj, ledger: Ledger) -> str:
    """Why the node does not take the pod; empty if it does."""
    if spec(pod).get("schedulingGates"):
        return GATED
    refused = refusal(pod, node, ledger, lambda _: {})
    return said(refused) if refused else ""


def selects(pod: Obj, node: Obj) -> bool:
    """Whether the pod may be on this node by its selector and required node affinity."""
    labels = node["metadata"].get("labels") or {}
    selector = spec(pod).get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    affinity = (spec(pod).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return not required or selects_node(required, node)


def _ports_clash(pod: Obj, others: Sequence[Obj]) -> bool:
    wanted = list(_host_ports(pod))
    if not wanted:
        return False
    taken = [port for other in others for port in _host_ports(other)]
    return any(
        (protocol, number) == (other_protocol, other_number)
        and (address == other_address or "0.0.0.0" in (address, other_address))
        for address, protocol, number in wanted
        for other_address, other_protocol, other_number in taken
    )


def _host_ports(pod: Obj) -> Iterator[tuple[str, str, int]]:
    for container in all_containers(pod):
        for port in container.get("ports") or ():
            if number := port.get("hostPort"):
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(number)
