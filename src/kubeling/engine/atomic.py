"""Writing so that a reader, after a crash too, sees all of the old or all of the new.

A single file is written beside its place and renamed. For a volume's files there is the kubelet's
scheme: they lie in a folder of their own that ``..data`` points to, and each visible name is a link
through ``..data``; replacing that one link replaces everything at once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["VolumeFile", "read_files", "write_file", "write_files"]

_DATA: Final = "..data"


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """One file of a volume."""

    content: bytes
    mode: int = 0o644
    user: int | None = field(default=None, compare=False)
    """Who owns it, where this process can give it away."""


def write_file(path: Path, content: bytes) -> None:
    """Writes a file of the engine's own, which has one writer."""
    fresh = f"{path}.tmp"
    with open(fresh, "wb") as file:
        file.write(content)
    os.replace(fresh, path)


def write_files(
    folder: Path, files: Mapping[str, VolumeFile], finish: Callable[[Path], None] = lambda _: None
) -> bool:
    """Makes the volume hold exactly ``files`` (relative paths); returns whether it changed.

    ``finish`` may see to owners before anybody else sees the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    current = f"{folder}/{_DATA}"
    old = os.path.realpath(current) if os.path.islink(current) else ""
    if old and read_files(folder) == dict(files):
        return False
    fresh = tempfile.mkdtemp(prefix="..", dir=folder)
    os.chmod(fresh, 0o755)
    for name, file in files.items():
        _write(f"{fresh}/{name}", file)
    finish(Path(fresh))
    link = f"{folder}/..data_tmp"
    os.symlink(os.path.basename(fresh), link)
    os.replace(link, current)
    _show(folder, {name.partition("/")[0] for name in files})
    if old:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _write(path: str, file: VolumeFile) -> None:
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path, "wb") as target:
        target.write(file.content)
        os.fchmod(target.fileno(), file.mode)
        if file.user is not None and os.geteuid() == 0:
            os.fchown(target.fileno(), file.user, -1)


def read_files(folder: Path) -> dict[str, VolumeFile]:
    """What the volume holds."""
    root = (folder / _DATA).resolve()
    return {
        str(path.relative_to(root)): VolumeFile(path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in root.rglob("*")
        if path.is_file()
    }


def _show(folder: Path, names: set[str]) -> None:
    shown = {entry for entry in os.listdir(folder) if not entry.startswith("..")}
    for name in shown - names:
        os.unlink(f"{folder}/{name}")
    for name in names - shown:
        os.symlink(f"{_DATA}/{name}", f"{folder}/{name}")
