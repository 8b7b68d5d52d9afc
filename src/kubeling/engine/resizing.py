"""Changing what a running pod may use (``pods/resize``). Pure.

The node's account comes first: what can never fit is infeasible, what does not fit now is deferred
and tried again when something is freed. Then each container gets its new bounds through its
control group, or is started again if its ``resizePolicy`` says so. Reasons and conditions are the
kubelet's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kubeling.engine.podspec import init_containers, is_sidecar, main_containers, pod_requests
from kubeling.engine.scheduler import Ledger
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import format_quantity

__all__ = ["Pending", "changed_containers", "reserve", "resources_of", "restarts"]

_PENDING: Final = "PodResizePending"


@dataclass(frozen=True, slots=True)
class Pending:
    """Why a pod is not resized (yet)."""

    reason: Literal["Deferred", "Infeasible"]
    message: str

    def condition(self) -> Obj:
        return {"type": _PENDING, "reason": self.reason, "message": self.message}


def reserve(ledger: Ledger, pod: Obj) -> Pending | None:
    """Takes what a running pod asks for now of the node's account, or says why it cannot."""
    missing = ledger.missing(pod)
    if not missing:
        ledger.hold(pod)
        return None
    resource = missing[0]
    wanted = pod_requests(pod)[resource]
    capacity = ledger.allocatable.get(resource, wanted)
    asked = f"{resource}, requested: {format_quantity(wanted, binary=resource == 'memory')}"
    limit = f"capacity: {format_quantity(capacity, binary=resource == 'memory')}"
    if wanted > capacity:
        return Pending("Infeasible", f"Node didn't have enough capacity: {asked}, {limit}")
    return Pending("Deferred", f"Node didn't have enough resource: {asked}, {limit}")


def changed_containers(pod: Obj, actual: Mapping[str, Obj]) -> Iterator[Obj]:
    """The containers whose resources are not those they run with."""
    sidecars = filter(is_sidecar, init_containers(pod))
    for container in (*sidecars, *main_containers(pod)):
        known = actual.get(container["name"])
        if known is not None and known != resources_of(container):
            yield container


def resources_of(container: Mapping[str, Any]) -> Obj:
    """Limits and requests as they are reported."""
    resources = container.get("resources") or {}
    return {kind: dict(resources[kind]) for kind in ("limits", "requests") if resources.get(kind)}


def restarts(container: Mapping[str, Any], actual: Obj) -> bool:
    """Whether what changes of a container's resources needs a new start, as it says itself."""
    wanted = resources_of(container)
    changed = {
        resource
        for kind in ("limits", "requests")
        for resource in {*wanted.get(kind, {}), *actual.get(kind, {})}
        if wanted.get(kind, {}).get(resource) != actual.get(kind, {}).get(resource)
    }
    return any(
        policy.get("resourceName") in changed and policy.get("restartPolicy") == "RestartContainer"
        for policy in container.get("resizePolicy") or ()
    )
