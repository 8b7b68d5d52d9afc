"""Volumes in memory, as the kubelet keeps them: secrets, tokens and what is made of other objects
in a tmpfs of all pods, an ``emptyDir`` with ``medium: Memory`` in one of its own.

They are mounted where the agent lives, not in a container, and stay over a restart of the platform;
whoever removes the folder detaches them first. Only root can mount there: elsewhere these volumes
are folders on disk, and of an ``emptyDir`` an Event says so.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubeling.engine.podspec import spec
from kubeling.engine.sandbox import linux
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

__all__ = ["detach_all", "in_memory", "memory_volumes", "mount_in_memory", "shared_memory"]


def in_memory(volume: Mapping[str, Any]) -> bool:
    """Whether a volume asks to be kept in memory."""
    return (volume.get("emptyDir") or {}).get("medium") == "Memory"


def memory_volumes(pod: Obj) -> list[str]:
    """The names of a pod's volumes in memory."""
    return [v["name"] for v in spec(pod).get("volumes") or () if in_memory(v)]


def shared_memory(folder: Path) -> Path | None:
    """A tmpfs for the small volumes of all pods; ``None`` where there can be none."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux":
        return None
    if not os.path.ismount(folder):
        try:
            linux.mount("tmpfs", str(folder), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=711")
        except OSError:
            return None
    return folder


def mount_in_memory(folder: Path, body: Mapping[str, Any]) -> bool:
    """Mounts a tmpfs of the volume's ``sizeLimit`` at a folder, unless there is one; says if so."""
    if sys.platform != "linux" or os.path.ismount(folder):
        return False
    limit = int(parse_quantity(body.get("sizeLimit") or 0))
    data = f"mode=0777,size={limit}" if limit else "mode=0777"
    try:
        linux.mount("tmpfs", str(folder), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, data)
    except OSError:
        return False
    return True


def detach_all(volumes: Path) -> None:
    """Lets go of what is mounted at a folder and right below it."""
    if sys.platform != "linux" or not volumes.is_dir():
        return
    for folder in (*volumes.iterdir(), volumes):
        if os.path.ismount(folder):
            with contextlib.suppress(OSError):
                linux.umount(str(folder), linux.MNT_DETACH)
