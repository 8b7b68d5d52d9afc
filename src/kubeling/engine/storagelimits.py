"""Limits on disk: a pod whose volumes or containers keep more than they may is evicted.

Measured every few seconds as the kubelet does, with its messages (``pkg/kubelet/eviction``): the
``sizeLimit`` of each emptyDir, and ``limits.ephemeral-storage`` of each container (what it changed
in its files, and its log) and of the pod. Pods without such limits are never looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kubeling.engine.containers import read_plan
from kubeling.engine.paths import ContainerPaths, PodPaths
from kubeling.engine.podspec import main_containers, spec
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity

__all__ = ["exceeded", "has_storage_limits", "used"]

_STORAGE: Final = "ephemeral-storage"


def has_storage_limits(pod: Obj) -> bool:
    """Whether there is anything to watch."""
    return bool([*_limited_volumes(pod), *_limited_containers(pod)])


def exceeded(pod: Obj, paths: PodPaths) -> str:
    """What of the pod's storage is over its limit, in the kubelet's words; empty if nothing is."""
    total = 0
    for volume, limit in _limited_volumes(pod):
        if used(paths.volumes / volume) > parse_quantity(limit):
            return f'Usage of EmptyDir volume "{volume}" exceeds the limit "{limit}". '
    limits = dict(_limited_containers(pod))
    for container in main_containers(pod):
        name = container["name"]
        attempts = (paths.container(name, number) for number in paths.attempts(name))
        size = sum(used(place) for attempt in attempts for place in _places(attempt))
        total += size
        if name in limits and size > parse_quantity(limits[name]):
            return f'Container {name} exceeded its local ephemeral storage limit "{limits[name]}". '
    whole = sum(map(parse_quantity, limits.values()), Quantity(0))
    if len(limits) == len(main_containers(pod)) and total + _volumes(pod, paths) > whole:
        text = "Pod ephemeral local storage usage exceeds the total limit of containers "
        return f"{text}{format_quantity(whole, binary=True)}. "
    return ""


def _places(attempt: ContainerPaths) -> list[Path]:
    """Where an attempt keeps files: in its folder, and in the layer it was lent."""
    try:
        root = read_plan(attempt)["root"]
    except FileNotFoundError:
        return [attempt.root]  # it has not been started
    layer = Path(root["directory"]) if root is not None else attempt.files
    return [attempt.root] if layer.is_relative_to(attempt.root) else [attempt.root, layer]


def used(folder: Path) -> int:
    """The bytes on disk of all below a folder; what cannot be looked at does not count."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue  # it is gone meanwhile
    return total


def _volumes(pod: Obj, paths: PodPaths) -> int:
    return sum(used(paths.volumes / v["name"]) for v in _empty_dirs(pod))


def _empty_dirs(pod: Obj) -> Iterator[Obj]:
    for volume in spec(pod).get("volumes") or ():
        if "emptyDir" in volume and (volume["emptyDir"] or {}).get("medium") != "Memory":
            yield volume


def _limited_volumes(pod: Obj) -> Iterator[tuple[str, Any]]:
    for volume in spec(pod).get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is not None and parse_quantity(limit):
            yield volume["name"], limit


def _limited_containers(pod: Obj) -> Iterator[tuple[str, Any]]:
    for container in main_containers(pod):
        limits = (container.get("resources") or {}).get("limits") or {}
        if _STORAGE in limits:
            yield container["name"], limits[_STORAGE]
