"""Unpacks a model that came as one archive."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Final

from kubeling.artifacts.errors import ArtifactError

__all__ = ["is_archive", "unpack"]

_BROKEN: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
)
"""What incomplete, damaged and encrypted archives raise."""
_TAR: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def is_archive(name: str) -> bool:
    """Whether a file's name says that it is an archive."""
    return name.lower().endswith((*_TAR, ".zip"))


def unpack(archive: Path, target: Path) -> None:
    """Unpacks into ``target`` and removes the archive; nothing may land outside of it."""
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(target)
        else:
            with tarfile.open(archive) as packed_tar:
                packed_tar.extractall(target, filter="data")
    except _BROKEN as error:
        raise ArtifactError(f"{archive.name} cannot be unpacked: {error}") from None
    archive.unlink()
