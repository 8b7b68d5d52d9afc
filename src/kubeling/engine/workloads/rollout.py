"""How a Deployment moves from its old ReplicaSets to the new one. Pure.

The numbers are upstream's: at no time more than ``replicas + maxSurge`` pods, nor fewer than
``replicas - maxUnavailable`` available ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, name

__all__ = [
    "DESIRED",
    "MAXIMUM",
    "is_rescaled",
    "limits",
    "recreate",
    "rescale",
    "roll",
    "share",
    "total",
]

DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MAXIMUM: Final = "deployment.kubernetes.io/max-replicas"
"""What a ReplicaSet's size was computed from: how the next change knows its share."""

Sizes = dict[str, int]


def limits(deployment: Obj) -> tuple[int, int]:
    """``(maxSurge, maxUnavailable)`` as numbers of pods; never both zero."""
    spec = deployment["spec"]
    if spec.get("strategy", {}).get("type") == "Recreate":
        return 0, _replicas(deployment)
    rolling = spec.get("strategy", {}).get("rollingUpdate") or {}
    replicas = _replicas(deployment)
    surge = ceil(share(rolling.get("maxSurge", "25%"), replicas))
    unavailable = floor(share(rolling.get("maxUnavailable", "25%"), replicas))
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def roll(deployment: Obj, new: Obj, old: Sequence[Obj]) -> Sizes:
    """The sizes of the ReplicaSets that should change now, by name; ``old`` oldest first."""
    grown = _grow_new(deployment, new, old)
    if grown != _replicas(new):
        return {name(new): grown}
    return _shrink_old(deployment, new, old)


def recreate(deployment: Obj, new: Obj | None, old: Sequence[Obj], *, old_pods: int) -> Sizes:
    """First every old pod ends, then the new ones start."""
    running = {name(rs): 0 for rs in old if _replicas(rs)}
    if running:
        return running
    wanted = _replicas(deployment)
    if old_pods or new is None or _replicas(new) == wanted:
        return {}
    return {name(new): wanted}


def is_rescaled(deployment: Obj, sets: Iterable[Obj]) -> bool:
    """Whether the Deployment's size changed since its ReplicaSets were last given theirs."""
    wanted = _replicas(deployment)
    noted = (_number(rs, DESIRED) for rs in sets if _replicas(rs))
    return any(desired is not None and desired != wanted for desired in noted)


def rescale(deployment: Obj, new: Obj | None, old: Sequence[Obj]) -> Sizes:
    """The sizes for a Deployment that is paused, or whose size changed on the way; by name.

    While several ReplicaSets have pods, each keeps its share of them, so that a change of size
    neither hastens nor undoes a rollout. ``old`` oldest first.
    """
    wanted = _replicas(deployment)
    sets = [*old, *([new] if new is not None else [])]
    active = [rs for rs in sets if _replicas(rs)]
    if len(active) < 2:
        chosen = active or ([new] if new is not None else list(old[-1:]))
        return {name(rs): wanted for rs in chosen if _replicas(rs) != wanted}
    if new is not None and _is_saturated(deployment, new):
        return {name(rs): 0 for rs in old if _replicas(rs)}
    if deployment["spec"].get("strategy", {}).get("type") == "Recreate":
        return {}
    surge, _ = limits(deployment)
    most = wanted + surge if wanted else 0
    return _proportional(deployment, active, most)


def _proportional(deployment: Obj, active: Sequence[Obj], most: int) -> Sizes:
    change = most - sum(map(_replicas, active))
    # The largest come first; of equals, the newest grows and the oldest shrinks.
    by_age = list(reversed(active)) if change > 0 else list(active)
    ordered = sorted(by_age, key=_replicas, reverse=True)
    sizes: Sizes = {}
    made = 0
    for rs in ordered:
        share_ = _fraction(deployment, rs, most) if change and change != made else 0
        left = change - made
        share_ = min(share_, left) if change > 0 else max(share_, left)
        sizes[name(rs)] = _replicas(rs) + share_
        made += share_
    sizes[name(ordered[0])] = max(0, sizes[name(ordered[0])] + change - made)
    return {name(rs): sizes[name(rs)] for rs in ordered if sizes[name(rs)] != _replicas(rs)}


def _fraction(deployment: Obj, rs: Obj, most: int) -> int:
    if not _replicas(deployment):
        return -_replicas(rs)
    before = _number(rs, MAXIMUM) or int((deployment.get("status") or {}).get("replicas") or 0)
    if not before:
        return 0
    return floor(_replicas(rs) * most / before + 0.5) - _replicas(rs)


def _is_saturated(deployment: Obj, new: Obj) -> bool:
    wanted = _replicas(deployment)
    return _replicas(new) == wanted == _number(new, DESIRED) == _available(new)


def _number(rs: Obj, key: str) -> int | None:
    text = objects.annotations(rs).get(key, "")
    return int(text) if text.isdigit() else None


def _grow_new(deployment: Obj, new: Obj, old: Sequence[Obj]) -> int:
    wanted, present = _replicas(deployment), _replicas(new)
    if present >= wanted:
        return wanted
    surge, _ = limits(deployment)
    room = wanted + surge - present - sum(map(_replicas, old))
    return present + max(0, min(room, wanted - present))


def _shrink_old(deployment: Obj, new: Obj, old: Sequence[Obj]) -> Sizes:
    _, unavailable = limits(deployment)
    least = _replicas(deployment) - unavailable
    sizes = {name(rs): _replicas(rs) for rs in old if _replicas(rs)}
    if not sizes:
        return {}
    broken_new = _replicas(new) - _available(new)
    spare = sum(sizes.values()) + _replicas(new) - least - broken_new
    after = dict(sizes)
    for rs in old:
        # Pods that serve nobody go first: they cost nothing.
        idle = max(0, _replicas(rs) - _available(rs))
        taken = min(idle, max(spare, 0), after.get(name(rs), 0))
        if taken:
            after[name(rs)] -= taken
            spare -= taken
    free = sum(map(_available, [*old, new])) - least
    for rs in old:
        taken = min(after.get(name(rs), 0), max(free, 0))
        if taken:
            after[name(rs)] -= taken
            free -= taken
    return {key: size for key, size in after.items() if size != sizes[key]}


def share(value: Any, replicas: int) -> float:
    """A number of pods, given as such or in percent of ``replicas``."""
    text = str(value)
    return replicas * int(text[:-1]) / 100 if text.endswith("%") else int(text)


def _replicas(obj: Obj) -> int:
    return int(obj["spec"].get("replicas", 1))


def _available(replica_set: Obj) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)


def total(sets: Iterable[Obj], field: str) -> int:
    """The sum of a status field."""
    return sum(int((rs.get("status") or {}).get(field) or 0) for rs in sets)
