"""Files of models that were fetched before, kept by their content.

Every start of a pod, every further replica and every revision that only differs in a setting
fetches its model. Where the node offers a folder (``MODEL_CACHE``, one for each namespace),
a file is fetched once: the store is still asked what there is, with the pod's own credentials, and
a file that it names by a version (an ETag, a commit, a digest) is taken from here if it was seen.

``names/`` says which content a version of a file had, ``contents/`` has it under its SHA-256, so
equal files of different places are kept once. What is read is checked against its name, and written
anew if it is damaged; what was not used for longest goes first when there is too much.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

__all__ = ["ModelCache"]

Save = Callable[[Path], None]

_NEW: Final = ".new-"
_STALE_SECONDS: Final = 6 * 3600.0
_PIECE: Final = 1 << 20
_LIMIT: Final = 20 << 30
_SHARE_OF_DISK: Final = 4
"""Of what is free on the disk, at most a quarter is used."""


class ModelCache:
    """A folder of contents; without one everything is fetched."""

    def __init__(self, folder: Path | None, limit: int = _LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    @classmethod
    def of(cls, env: Mapping[str, str]) -> ModelCache:
        """The one that the environment names."""
        given = env.get("MODEL_CACHE", "")
        limit = env.get("MODEL_CACHE_BYTES", "")
        return cls(Path(given) if given else None, int(limit) if limit.isdigit() else _LIMIT)

    @property
    def keeps(self) -> bool:
        """Whether there is a folder for what is fetched."""
        return self._folder is not None

    def fetch(self, version: str, target: Path, save: Save) -> None:
        """Puts a file in its place: from here, or by ``save``, and then it is kept.

        Without a ``version`` nobody can tell whether the file is still the same. That a file cannot
        be kept (no room, no right to write) is no error.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._folder is None or not version:
            save(target)
            return
        name = self._folder / "names" / hashlib.sha256(version.encode()).hexdigest()
        if not self._taken(name, target):
            save(target)
            with contextlib.suppress(OSError):
                self._keep(name, target)

    def _taken(self, name: Path, target: Path) -> bool:
        """Copies the content that a name stands for; whether it was there, and whole."""
        assert self._folder is not None
        try:
            digest = name.read_text()
            content = self._folder / "contents" / digest
            if _copied(content, target) != digest:
                content.unlink()
                return False
            os.utime(content)
        except OSError:
            return False
        return True

    def _keep(self, name: Path, source: Path) -> None:
        assert self._folder is not None
        contents = self._folder / "contents"
        contents.mkdir(parents=True, exist_ok=True)
        name.parent.mkdir(exist_ok=True)
        _sweep(self._folder)
        if not self._has_room_for(source.stat().st_size, contents):
            return
        with tempfile.TemporaryDirectory(prefix=_NEW, dir=self._folder) as new:
            copy, note = Path(new) / "content", Path(new) / "name"
            digest = _copied(source, copy)
            copy.chmod(0o644)
            copy.replace(contents / digest)
            note.write_text(digest)
            note.chmod(0o644)
            note.replace(name)

    def _has_room_for(self, size: int, contents: Path) -> bool:
        """Lets go of what was not used for longest until ``size`` fits."""
        kept = sorted(
            ((found.stat().st_mtime, found.stat().st_size, found) for found in contents.iterdir()),
            key=lambda entry: entry[0],
        )
        total = sum(entry[1] for entry in kept)
        free = shutil.disk_usage(contents).free
        limit = min(self._limit, (total + free) // _SHARE_OF_DISK)
        for _, freed, found in kept:
            if total + size <= limit:
                break
            found.unlink(missing_ok=True)
            total -= freed
        return total + size <= limit


def _sweep(folder: Path) -> None:
    """Removes what initializers left that were killed while they kept a file."""
    for left in folder.glob(f"{_NEW}*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _copied(source: Path, target: Path) -> str:
    """Copies a file and returns the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while piece := read.read(_PIECE):
            digest.update(piece)
            written.write(piece)
    return digest.hexdigest()
