"""Folders that the programs of an image keep from pod to pod: what can be had again, but slowly.

The image's entry names them (``keeps``). A pod has a file system of its own that ends with it, so
they are mounted; without root they are where the node has them. Pods of one namespace share one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kubeling.engine.images import ImageEntry
from kubeling.engine.rootfs import VolumeMount

__all__ = ["kept_env", "kept_mounts"]

_PLACE: Final = "/var/cache/kubeling"


def kept_env(entry: ImageEntry, folder: Path, *, mounted: bool) -> dict[str, str]:
    """The variables that tell where they are; ``folder`` is the namespace's."""
    place = Path(_PLACE) if mounted else folder
    return {variable: str(place / name) for variable, name in entry.keeps.items()}


def kept_mounts(entry: ImageEntry, folder: Path) -> list[VolumeMount]:
    """Makes them, and says where they are seen."""
    found = []
    for name in entry.keeps.values():
        source = folder / name
        source.mkdir(parents=True, exist_ok=True)
        # Pods may run as anybody; what one writes, others do not replace.
        source.chmod(0o1777)
        found.append(VolumeMount(source, f"{_PLACE}/{name}"))
    return found
