"""A Deployment's status and conditions, from its ReplicaSets. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from kubeling.engine.workloads.rollout import limits, total
from kubeling.kube.objects import (
    Obj,
    condition,
    deep_copy,
    format_time,
    generation,
    name,
    parse_time,
    remove_condition,
    set_condition,
)

__all__ = ["deployment_status", "is_complete", "seconds_to_deadline"]


def deployment_status(
    deployment: Obj,
    new: Obj | None,
    sets: Sequence[Obj],
    now: dt.datetime,
    *,
    rolling: bool = True,
    created: bool = False,
) -> Obj:
    """The whole status; ``new`` is among ``sets`` if it exists, ``created`` if just now.

    Only while it is ``rolling`` does a Deployment make progress, or fail to.
    """
    before = deployment.get("status") or {}
    available = total(sets, "availableReplicas")
    counts = {
        "replicas": total(sets, "replicas"),
        "updatedReplicas": total([new], "replicas") if new else 0,
        "readyReplicas": total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(map(_size, sets)) - available),
    }
    status: Obj = {"observedGeneration": generation(deployment)}
    status |= {field: count for field, count in counts.items() if count}
    status["terminatingReplicas"] = total(sets, "terminatingReplicas")
    if "collisionCount" in before:
        status["collisionCount"] = before["collisionCount"]
    status["conditions"] = deep_copy(before.get("conditions") or [])
    _set_available(deployment, status, available, now)
    _set_paused(deployment, status, now)
    if rolling:
        _set_failure(status, [*([new] if new else []), *sets], now)
        _set_progressing(deployment, status, new, now, created=created)
    return status


def is_complete(deployment: Obj, status: Obj) -> bool:
    """Whether the rollout is done: only new pods, all available, none left over."""
    wanted = int(deployment["spec"].get("replicas", 1))
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    return all(int(status.get(field) or 0) == wanted for field in fields)


def seconds_to_deadline(deployment: Obj, status: Obj, now: dt.datetime) -> float | None:
    """How long a rollout under way still has to make progress."""
    allowed = deployment["spec"].get("progressDeadlineSeconds")
    entry = _entry(status, "Progressing")
    if allowed is None or entry is None or deployment["spec"].get("paused"):
        return None
    if entry["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    since = parse_time(entry.get("lastUpdateTime") or entry["lastTransitionTime"])
    return max(0.0, float(allowed) - (now - since).total_seconds())


def _size(replica_set: Obj) -> int:
    return int(replica_set["spec"].get("replicas", 1))


def _set_available(deployment: Obj, status: Obj, available: int, now: dt.datetime) -> None:
    _, unavailable = limits(deployment)
    enough = available >= int(deployment["spec"].get("replicas", 1)) - unavailable
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    words = "has" if enough else "does not have"
    message = f"Deployment {words} minimum availability."
    set_condition(
        status, "Available", enough, reason=reason, message=message, now=now, stamp_update=True
    )


def _set_failure(status: Obj, sets: Sequence[Obj], now: dt.datetime) -> None:
    failures = [found for rs in sets if (found := condition(rs, "ReplicaFailure"))]
    if not failures:
        remove_condition(status, ["ReplicaFailure"])
        return
    _, value, reason, message = failures[0]
    set_condition(
        status,
        "ReplicaFailure",
        value,
        reason=reason,
        message=message,
        now=now,
        stamp_update=True,
    )


def _set_paused(deployment: Obj, status: Obj, now: dt.datetime) -> None:
    entry = _entry(status, "Progressing")
    reason = entry["reason"] if entry else ""
    if deployment["spec"].get("progressDeadlineSeconds") is None:
        return
    if deployment["spec"].get("paused"):
        if reason != "ProgressDeadlineExceeded":
            _progressing(status, "Unknown", "DeploymentPaused", "Deployment is paused", now)
    elif reason == "DeploymentPaused":
        _progressing(status, "Unknown", "DeploymentResumed", "Deployment is resumed", now)


def _set_progressing(
    deployment: Obj, status: Obj, new: Obj | None, now: dt.datetime, *, created: bool
) -> None:
    if deployment["spec"].get("progressDeadlineSeconds") is None:
        remove_condition(status, ["Progressing"])
        return
    title = f'ReplicaSet "{name(new)}"' if new else f'Deployment "{name(deployment)}"'
    entry = _entry(status, "Progressing")
    if new is not None and (created or entry is None):
        word, reason = ("Created", "NewReplicaSetCreated")
        if not created:
            word, reason = ("Found", "FoundNewReplicaSet")
        _progressing(status, "True", reason, f'{word} new replica set "{name(new)}"', now)
        entry = _entry(status, "Progressing")
    only_new = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if entry is not None and entry["reason"] == "NewReplicaSetAvailable" and only_new:
        # A finished rollout stays finished, though pods may come and go.
        return
    if is_complete(deployment, status):
        message = f"{title} has successfully progressed."
        _progressing(status, "True", "NewReplicaSetAvailable", message, now)
    elif _has_moved(deployment, status):
        _progressing(status, "True", "ReplicaSetUpdated", f"{title} is progressing.", now)
        entry = _entry(status, "Progressing")
        assert entry is not None
        entry["lastUpdateTime"] = format_time(now)
    elif seconds_to_deadline(deployment, status, now) == 0.0:
        message = f"{title} has timed out progressing."
        _progressing(status, "False", "ProgressDeadlineExceeded", message, now)


def _progressing(status: Obj, value: str, reason: str, message: str, now: dt.datetime) -> None:
    set_condition(
        status, "Progressing", value, reason=reason, message=message, now=now, stamp_update=True
    )


def _has_moved(deployment: Obj, status: Obj) -> bool:
    before = deployment.get("status") or {}

    def number(of: Obj, field: str) -> int:
        return int(of.get(field) or 0)

    old = number(status, "replicas") - number(status, "updatedReplicas")
    old_before = number(before, "replicas") - number(before, "updatedReplicas")
    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old < old_before or any(number(status, f) > number(before, f) for f in grown)


def _entry(status: Obj, type: str) -> Obj | None:
    return next((c for c in status.get("conditions") or () if c["type"] == type), None)
