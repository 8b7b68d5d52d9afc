"""Taints of nodes and the tolerations of pods. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

__all__ = [
    "NO_EXECUTE",
    "REPELLING",
    "UNSCHEDULABLE",
    "Taint",
    "Toleration",
    "tolerates",
    "tolerating",
    "untolerated",
]

Taint = Mapping[str, Any]
Toleration = Mapping[str, Any]

NO_EXECUTE: Final = "NoExecute"
REPELLING: Final = ("NoSchedule", NO_EXECUTE)
"""The effects that keep pods away; ``PreferNoSchedule`` has no meaning where there is one node."""
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
"""The taint that a cordoned node has."""


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration is about a taint; an empty key with ``Exists`` is about all."""
    effect, key = toleration.get("effect"), toleration.get("key") or ""
    if effect and effect != taint["effect"]:
        return False
    if key and key != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(key) and (toleration.get("value") or "") == (taint.get("value") or "")


def tolerating(tolerations: Iterable[Toleration], taint: Taint) -> list[Toleration]:
    """The tolerations that are about a taint."""
    return [each for each in tolerations if tolerates(each, taint)]


def untolerated(
    taints: Iterable[Taint], tolerations: Collection[Toleration], effects: Collection[str]
) -> Iterator[Taint]:
    """The taints of certain effects that nothing tolerates."""
    for taint in taints:
        if taint["effect"] in effects and not tolerating(tolerations, taint):
            yield taint
