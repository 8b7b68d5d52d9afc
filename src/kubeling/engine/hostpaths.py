"""``hostPath`` volumes: what has to be at the path, and what is made there.

The types and messages are the kubelet's (``pkg/volume/hostpath``). Without a type nothing is asked,
and a folder is made where there is nothing, as container runtimes do.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["HostPathError", "host_path"]

_CHECKS: Final[Mapping[str, tuple[Callable[[int], bool], str]]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


class HostPathError(Exception):
    """There is something else at the path, or nothing."""


def host_path(body: Mapping[str, Any]) -> Path:
    """The path of a hostPath volume, checked and made as its type says."""
    path, kind = Path(body["path"]), body.get("type") or ""
    if not path.exists():
        if kind in ("", "DirectoryOrCreate"):
            path.mkdir(parents=True, mode=0o755)
        elif kind == "FileOrCreate":
            path.touch(mode=0o644)
    if not kind:
        return path
    holds, what = _CHECKS[kind]
    if not path.exists() or not holds(path.stat().st_mode):
        raise HostPathError(f"hostPath type check failed: {path} is not a {what}")
    return path
