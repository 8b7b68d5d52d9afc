"""How a file or a folder becomes one object, and an object a file or a folder again.

Upstream: ``saveArtifact`` and ``loadArtifacts`` in argo-workflows' ``workflow/executor``. What is
packed has the artifact's own name as its only entry; unpacking takes that entry to the place asked
for, whatever it is called.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.plan import Packing

__all__ = ["pack", "unpack"]


def pack(source: Path, target: Path, packing: Packing, level: int | None = None) -> None:
    """Writes ``source`` to the file ``target``; ``level`` is gzip's, 0 stores a plain tar."""
    if packing == "zip":
        _zip(source, target)
        return
    with target.open("wb") as file:
        if level == 0:
            with tarfile.open(fileobj=file, mode="w") as plain:
                plain.add(source, arcname=source.name)
            return
        speed = 6 if level is None or level < 0 else level
        with (
            gzip.open(file, "wb", compresslevel=speed) as packed,
            tarfile.open(fileobj=packed, mode="w|") as archive,
        ):
            archive.add(source, arcname=source.name)


def unpack(found: Path, target: Path, packing: Packing) -> None:
    """Moves what was loaded to ``target``, out of its archive if it is one.

    Nothing lands outside of ``target``; raises :class:`ArtifactError` for a broken archive.
    """
    if found.is_dir() or packing == "none":
        _move(found, target)
        return
    zipped = packing == "zip" or (packing == "auto" and zipfile.is_zipfile(found))
    if not zipped and packing == "auto" and not _is_tar(found):
        _move(found, target)
        return
    scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=found.parent))
    try:
        if zipped:
            with zipfile.ZipFile(found) as packed:
                packed.extractall(scratch)
        else:
            with tarfile.open(found) as archive:
                archive.extractall(scratch, filter="tar")
        found.unlink()
        entries = list(scratch.iterdir())
        _move(entries[0] if len(entries) == 1 else scratch, target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ArtifactError(f"{target.name} cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError):
        return False


def _move(source: Path, target: Path) -> None:
    """Puts a file or folder in place; a folder that is there already (a mount) is filled."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(source)
            return
        raise ArtifactError(f"{target} is a folder, and the artifact a file")
    shutil.move(source, target)


def _zip(source: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        if source.is_file():
            packed.write(source, source.name)
            return
        for folder, _, names in os.walk(source):
            below = Path(folder).relative_to(source.parent)
            packed.write(folder, str(below))
            for name in sorted(names):
                packed.write(Path(folder) / name, str(below / name))
