"""Whether a pod fits on the node, and the ledger of what the pods there have taken. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from kubeling.engine.podspec import pod_requests, spec
from kubeling.kube.objects import Obj, uid
from kubeling.kube.quantities import Quantity

__all__ = ["Ledger", "unschedulable_reason"]

_NONE: Final = "0/1 nodes are available: "


class Ledger:
    """What is free on the node; pods hold their share from admission until they have ended."""

    def __init__(self, allocatable: Mapping[str, Quantity]) -> None:
        self.allocatable = dict(allocatable)
        self._held: dict[str, dict[str, Quantity]] = {}

    def missing(self, pod: Obj) -> list[str]:
        """The resources there is not enough of for the pod, by name.

        What the pod holds itself counts as free.
        """
        wanted = {"pods": Decimal(1), **pod_requests(pod)}
        own = self._held.get(uid(pod), {})
        return sorted(
            name
            for name, amount in wanted.items()
            if amount > self._free(name) + own.get(name, Decimal(0))
        )

    def hold(self, pod: Obj) -> None:
        """Takes the pod's share, whether or not it is free (a pod found running has it)."""
        self._held[uid(pod)] = {"pods": Decimal(1), **pod_requests(pod)}

    def release(self, pod_uid: str) -> bool:
        """Gives a pod's share back; returns whether it held one."""
        return self._held.pop(pod_uid, None) is not None

    def _free(self, resource: str) -> Quantity:
        zero = Decimal(0)
        taken = sum((held.get(resource, zero) for held in self._held.values()), zero)
        return self.allocatable.get(resource, zero) - taken


def unschedulable_reason(pod: Obj, node: Obj, ledger: Ledger) -> str:
    """Why the node does not take the pod, in the scheduler's words; empty if it does."""
    if gates := spec(pod).get("schedulingGates"):
        return f"Scheduling is blocked due to non-empty scheduling gates: {gates[0]['name']}"
    if (node.get("spec") or {}).get("unschedulable"):
        return f"{_NONE}1 node(s) were unschedulable."
    if not _selects(pod, node):
        return f"{_NONE}1 node(s) didn't match Pod's node affinity/selector."
    if missing := ledger.missing(pod):
        texts = ["1 Too many pods" if m == "pods" else f"1 Insufficient {m}" for m in missing]
        return f"{_NONE}{', '.join(texts)}."
    return ""


def _selects(pod: Obj, node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    selector = spec(pod).get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    affinity = (spec(pod).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_holds(e, labels) for e in term.get("matchExpressions") or ())
        and all(_holds(e, fields) for e in term.get("matchFields") or ())
        for term in required.get("nodeSelectorTerms") or ()
    )


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement["key"])
    values = requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(values[0])
        case "Lt":
            return value is not None and int(value) < int(values[0])
    return False
