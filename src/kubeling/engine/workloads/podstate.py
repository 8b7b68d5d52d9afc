"""What a Pod's status means to those who count pods. Pure."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from math import log2
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import (
    Obj,
    deep_copy,
    deletion_requested,
    is_condition_true,
    owner_reference,
    parse_time,
    uid,
)

__all__ = [
    "deletion_cost",
    "generated_name",
    "is_active",
    "is_available",
    "is_finished",
    "is_ready",
    "phase",
    "pod_from_template",
    "random_suffix",
    "ready_since",
    "seconds_until_available",
    "worth",
]

_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_BASE: Final = 58
_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"


def phase(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Whether the pod ran to its end."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Mapping[str, Any]) -> bool:
    """Whether the pod does, or will do, its work."""
    return not is_finished(pod) and not deletion_requested(pod)


def is_ready(pod: Mapping[str, Any]) -> bool:
    return is_condition_true(pod, "Ready")


def ready_since(pod: Mapping[str, Any]) -> dt.datetime | None:
    """When the pod last became ready, if it is."""
    for entry in (pod.get("status") or {}).get("conditions") or ():
        if entry.get("type") == "Ready" and entry.get("status") == "True":
            stamp = entry.get("lastTransitionTime")
            return parse_time(stamp) if stamp else None
    return None


def seconds_until_available(
    pod: Mapping[str, Any], min_ready_seconds: int, now: dt.datetime
) -> float | None:
    """How long a ready pod still has to stay ready; ``None`` for one that is not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if not min_ready_seconds or since is None:
        return 0.0
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def is_available(pod: Mapping[str, Any], min_ready_seconds: int, now: dt.datetime) -> bool:
    """Whether the pod has been ready for long enough."""
    return seconds_until_available(pod, min_ready_seconds, now) == 0.0


def random_suffix(length: int = 5) -> str:
    """Letters and digits that spell no words, as the API server's generated names."""
    return "".join(secrets.choice(_SAFE) for _ in range(length))


def generated_name(base: str) -> str:
    """A new name that begins with ``base`` and is short enough for a host name."""
    return f"{base[:_LONGEST_BASE]}{random_suffix()}"


def pod_from_template(
    template: Mapping[str, Any],
    owner: Obj,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Obj:
    """A pod of the owner's; the labels and annotations are added to the template's."""
    given = template.get("metadata") or {}
    metadata: Obj = {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": {**(given.get("labels") or {}), **(labels or {})},
        "annotations": {**(given.get("annotations") or {}), **(annotations or {})},
        "ownerReferences": [owner_reference(owner)],
    }
    if finalizers := given.get("finalizers"):
        metadata["finalizers"] = list(finalizers)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": deep_copy(template.get("spec") or {}),
    }


def deletion_cost(pod: Mapping[str, Any]) -> int:
    """What the pod says that its loss would cost, in comparison with its siblings."""
    try:
        return int(objects.annotations(pod).get(_DELETION_COST, "0"))
    except ValueError:
        return 0


def worth(
    pod: Mapping[str, Any], now: dt.datetime | None = None, *, cost: int = 0
) -> tuple[Any, ...]:
    """Orders pods by what their loss would cost, the cheapest first.

    As upstream's ``ActivePods``: not bound, pending, not ready, cheap by their own word, ready for
    a short time, often restarted, young. With ``now`` ages are compared by their order of
    magnitude, and by uid within one, so that what is removed is spread over a set made at once.
    """
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    since = ready_since(pod)
    created = parse_time(pod["metadata"]["creationTimestamp"])
    return (
        bool((pod.get("spec") or {}).get("nodeName")),
        {"Pending": 0, "Unknown": 1}.get(phase(pod), 2),
        is_ready(pod),
        cost,
        *_age(since, now, pod),
        -max((int(status.get("restartCount", 0)) for status in statuses), default=0),
        *_age(created, now, pod),
    )


def _age(
    since: dt.datetime | None, now: dt.datetime | None, pod: Mapping[str, Any]
) -> tuple[float, str]:
    if since is None:
        return 0.0, ""
    if now is None:
        return -since.timestamp(), ""
    seconds = max(1.0, (now - since).total_seconds())
    return float(int(log2(seconds))), uid(pod)
