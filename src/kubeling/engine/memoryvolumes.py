"""``emptyDir`` with ``medium: Memory``: a tmpfs in the pod's folder that its containers share.

It is mounted where the agent lives, not in a container, and stays over a restart of the platform;
whoever removes a pod's folder detaches it first. Only root can mount there: elsewhere the volume
is a folder on disk, and an Event says so.
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

__all__ = ["detach_all", "in_memory", "memory_volumes", "mount_in_memory"]


def in_memory(volume: Mapping[str, Any]) -> bool:
    """Whether a volume asks to be kept in memory."""
    return (volume.get("emptyDir") or {}).get("medium") == "Memory"


def memory_volumes(pod: Obj) -> list[str]:
    """The names of a pod's volumes in memory."""
    return [v["name"] for v in spec(pod).get("volumes") or () if in_memory(v)]


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
    """Lets go of what is mounted in a pod's folder of volumes."""
    if sys.platform != "linux" or not volumes.is_dir():
        return
    for folder in volumes.iterdir():
        if os.path.ismount(folder):
            with contextlib.suppress(OSError):
                linux.umount(str(folder), linux.MNT_DETACH)
