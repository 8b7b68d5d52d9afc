"""The status that a built-in object is born with.

Upstream's types hold their status by value and always write it, and in it the counters that are
not optional. Clients count on it: ``deployment.status`` is there before a controller has looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.apiserver.served import Served
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["begin_status"]

_UNOBSERVED: Final[Mapping[str, Obj]] = {
    "/replicationcontrollers": {"replicas": 0},
    "/persistentvolumeclaims": {"phase": "Pending"},
    "/persistentvolumes": {"phase": "Pending"},
    "/services": {"loadBalancer": {}},
    "apps/daemonsets": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "apps/replicasets": {"replicas": 0},
    "apps/statefulsets": {"replicas": 0, "availableReplicas": 0},
    "autoscaling/horizontalpodautoscalers": {"desiredReplicas": 0},
    "networking.k8s.io/ingresses": {"loadBalancer": {}},
    "policy/poddisruptionbudgets": {
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    },
}


def begin_status(served: Served, obj: Obj) -> None:
    """Gives a new object of a built-in kind that has a status its first one."""
    if not served.custom and "status" in served.subresources and "status" not in obj:
        obj["status"] = deep_copy(_UNOBSERVED.get(served.storage, {}))
