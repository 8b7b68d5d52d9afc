"""``resourcesDuration``: what a pod's containers asked for, times how long they ran, in seconds.

Upstream: ``util/resource``. A container that asks for nothing counts as 100m of CPU and 100Mi of
memory; the unit of memory is 100Mi, of storage 10Gi, of everything else one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kubeling.kube.objects import Obj, parse_time
from kubeling.kube.quantities import parse_quantity

__all__ = ["pod_duration"]

_DEFAULTS: Final = {"cpu": "100m", "memory": "100Mi"}
_UNITS: Final = {"memory": 100 << 20, "storage": 10 << 30, "ephemeral-storage": 10 << 30}


def pod_duration(pod: Obj) -> dict[str, int]:
    """Of a pod that has ended."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ran: dict[str, int] = {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        ran.update((c.get("name", ""), _seconds(c)) for c in status.get(kind) or ())
    total: dict[str, int] = {}
    shared: Obj = spec.get("resources") or {}
    for container in (*(spec.get("initContainers") or ()), *spec.get("containers", ())):
        own: Obj = container.get("resources") or {}
        amounts = dict(_DEFAULTS)
        if not (own.get("limits") or own.get("requests")):
            # What the pod has as a whole is counted once.
            own, shared = shared, {}
        for listed in _listed(own):
            amounts.update(listed)
        for name, amount in amounts.items():
            seconds = ran.get(container.get("name", ""), 0)
            used = int(parse_quantity(amount) * seconds / _UNITS.get(name, 1))
            total[name] = total.get(name, 0) + used
    return total


def _listed(resources: Obj) -> Iterable[Mapping[str, str]]:
    return [resources.get("limits") or {}, resources.get("requests") or {}]


def _seconds(container: Obj) -> int:
    ended = (container.get("state") or {}).get("terminated") or {}
    if not (ended.get("startedAt") and ended.get("finishedAt")):
        return 0
    took = parse_time(ended["finishedAt"]) - parse_time(ended["startedAt"])
    return int(took.total_seconds())
