"""How a Deployment moves from its old ReplicaSets to the new one. Pure.

The numbers are upstream's: at no time more than ``replicas + maxSurge`` pods, nor fewer than
``replicas - maxUnavailable`` available ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor
from typing import Any

from kubeling.kube.objects import Obj, name

__all__ = ["limits", "recreate", "roll", "scale_paused", "share", "total"]

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


def recreate(deployment: Obj, new: Obj, old: Sequence[Obj], *, old_pods: int) -> Sizes:
    """First every old pod ends, then the new ones start."""
    running = {name(rs): 0 for rs in old if _replicas(rs)}
    if running:
        return running
    wanted = _replicas(deployment)
    if old_pods or _replicas(new) == wanted:
        return {}
    return {name(new): wanted}


def scale_paused(deployment: Obj, sets: Sequence[Obj]) -> Sizes:
    """A paused Deployment changes its size, not its template: the newest set takes it all."""
    active = [rs for rs in sets if _replicas(rs)] or list(sets[-1:])
    if not active:
        return {}
    newest = active[-1]
    others = sum(_replicas(rs) for rs in active[:-1])
    wanted = max(0, _replicas(deployment) - others)
    return {} if wanted == _replicas(newest) else {name(newest): wanted}


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
        taken = min(after.get(name(rs), 0), max(free, 0), _available(rs))
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
