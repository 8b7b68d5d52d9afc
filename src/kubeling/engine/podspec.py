"""Reading the parts of a Pod that the engine acts on. Pure, and lenient about absent fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, parse_quantity

__all__ = [
    "all_containers",
    "ephemeral_containers",
    "grace_seconds",
    "init_containers",
    "is_finished",
    "is_sidecar",
    "main_containers",
    "pod_requests",
    "priority",
    "qos_class",
    "restart_policy",
]

_COMPUTE: Final = ("cpu", "memory")


def spec(pod: Mapping[str, Any]) -> Obj:
    return pod.get("spec") or {}


def priority(pod: Mapping[str, Any]) -> int:
    return int(spec(pod).get("priority") or 0)


def init_containers(pod: Mapping[str, Any]) -> list[Obj]:
    """Init containers and native sidecars, in order."""
    return spec(pod).get("initContainers") or []


def main_containers(pod: Mapping[str, Any]) -> list[Obj]:
    return spec(pod).get("containers") or []


def ephemeral_containers(pod: Mapping[str, Any]) -> list[Obj]:
    """Those added to a running pod, to look at it (``kubectl debug``)."""
    return spec(pod).get("ephemeralContainers") or []


def all_containers(pod: Mapping[str, Any]) -> Iterator[Obj]:
    yield from init_containers(pod)
    yield from main_containers(pod)
    yield from ephemeral_containers(pod)


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an *init* container is a native sidecar."""
    return container.get("restartPolicy") == "Always"


def restart_policy(pod: Mapping[str, Any]) -> str:
    return spec(pod).get("restartPolicy") or "Always"


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Whether the pod's phase can no longer change."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def grace_seconds(pod: Mapping[str, Any]) -> float:
    """How long the pod may take to stop: as its deletion asks, else as its spec does."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    if asked is None:
        asked = spec(pod).get("terminationGracePeriodSeconds")
    return float(30 if asked is None else asked)


def pod_requests(pod: Mapping[str, Any]) -> dict[str, Quantity]:
    """What a pod takes of its node, as the scheduler counts it.

    The containers' sum with all sidecars, or the most that the start needs at any moment; what the
    pod states as a whole comes before both. Plus the overhead.
    """
    running = _sum(_requests(c) for c in main_containers(pod))
    sidecars: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in init_containers(pod):
        wanted = _requests(container)
        if is_sidecar(container):
            sidecars = _sum((sidecars, wanted))
            peak = _max(peak, sidecars)
        else:
            peak = _max(peak, _sum((sidecars, wanted)))
    overhead = _parse(spec(pod).get("overhead") or {})
    whole = {**_max(_sum((running, sidecars)), peak), **_requests(spec(pod))}
    return _sum((whole, overhead))


def qos_class(pod: Mapping[str, Any]) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort``."""
    if (whole := spec(pod).get("resources") or {}).keys() & {"limits", "requests"}:
        return "Guaranteed" if _guaranteed(whole) else "Burstable"
    lasting = (*init_containers(pod), *main_containers(pod))
    resources = [c.get("resources") or {} for c in lasting]
    named = [
        (r.get(kind) or {}).get(resource)
        for r in resources
        for kind in ("requests", "limits")
        for resource in _COMPUTE
    ]
    if all(value is None for value in named):
        return "BestEffort"
    guaranteed = all(_guaranteed(r) for r in resources)
    return "Guaranteed" if guaranteed else "Burstable"


def _guaranteed(resources: Obj) -> bool:
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    return all(
        name in limits
        and parse_quantity(requests.get(name, limits[name])) == parse_quantity(limits[name])
        for name in _COMPUTE
    )


def _requests(container: Mapping[str, Any]) -> dict[str, Quantity]:
    resources = container.get("resources") or {}
    return _parse({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _parse(resources: Mapping[str, Any]) -> dict[str, Quantity]:
    return {name: parse_quantity(value) for name, value in resources.items()}


def _sum(parts: Iterable[Mapping[str, Quantity]]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, Decimal(0)) + value
    return total


def _max(a: Mapping[str, Quantity], b: Mapping[str, Quantity]) -> dict[str, Quantity]:
    zero = Decimal(0)
    return {name: max(a.get(name, zero), b.get(name, zero)) for name in {**a, **b}}
