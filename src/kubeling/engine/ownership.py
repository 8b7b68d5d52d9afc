"""A pod's ``fsGroup``: the group that its volumes belong to, for users who are not root.

As the kubelet does (``pkg/volume/volume_linux.go``): files become readable for the group, and
writable where the volume is; folders pass the group on. Only root can give files away.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubeling.engine.podspec import all_containers, spec
from kubeling.kube.objects import Obj

__all__ = ["Owner", "give_to_group", "owner_of_volumes", "shared_mode"]

_WRITABLE: Final = 0o660
_READABLE: Final = 0o440
_FOLDER: Final = stat.S_ISGID | 0o110


@dataclass(frozen=True, slots=True)
class Owner:
    """``group`` is the pod's fsGroup; ``user`` the one that all its containers run as, if one is.

    ``always`` says whether files are gone through each time rather than if the folder is not right.
    """

    group: int | None = None
    user: int | None = None
    always: bool = True


def owner_of_volumes(pod: Obj) -> Owner:
    """Whom the pod's volumes are made for."""
    security = spec(pod).get("securityContext") or {}
    users = {
        (container.get("securityContext") or {}).get("runAsUser", security.get("runAsUser"))
        for container in all_containers(pod)
    }
    return Owner(
        security.get("fsGroup"),
        users.pop() if len(users) == 1 else None,
        security.get("fsGroupChangePolicy") != "OnRootMismatch",
    )


def shared_mode(mode: int, *, folder: bool, writable: bool) -> int:
    """A mode with what the group needs."""
    return mode | (_WRITABLE if writable else _READABLE) | (_FOLDER if folder else 0)


def give_to_group(place: Path, owner: Owner, *, writable: bool = True) -> None:
    """Makes a volume with all in it the group's; where this process cannot, nothing changes."""
    if owner.group is None or os.geteuid() != 0:
        return
    if not owner.always and _is_right(place, owner.group, writable):
        return
    for path in _inside_out(place):
        _give(path, owner.group, writable)


def _is_right(place: Path, group: int, writable: bool) -> bool:
    found = place.stat()
    wanted = shared_mode(found.st_mode, folder=True, writable=writable)
    return found.st_gid == group and found.st_mode == wanted


def _inside_out(place: Path) -> Iterator[str]:
    for folder, _, files in os.walk(place, topdown=False):
        yield from (os.path.join(folder, name) for name in files)
        yield folder


def _give(path: str, group: int, writable: bool) -> None:
    found = os.lstat(path)
    os.chown(path, -1, group, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        folder = stat.S_ISDIR(found.st_mode)
        os.chmod(path, shared_mode(stat.S_IMODE(found.st_mode), folder=folder, writable=writable))
