"""Models on the node's own disk, which their owner may write over while they serve.

``kubeling serve`` notes a digest of what it serves with each revision (``MODEL_DIGEST``). The files
of that digest are kept at the first start of a pod, and later starts of the revision have them from
there: a folder that has another model by now is another revision's. Without a digest, or where
nothing could be kept, a pod has what lies there when it starts.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Final, NoReturn

from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.storage.cache import ModelCache
from kubeling.serving.storage.patterns import Patterns

__all__ = ["DIGEST_VARIABLE", "digest_of", "fetch_from_disk"]

DIGEST_VARIABLE: Final = "MODEL_DIGEST"
_PIECE: Final = 1 << 20


def digest_of(place: Path, title: str = "") -> str:
    """A short digest of a file, or of a folder's files with their names below its own.

    ``title`` is the name that the place had, if it has another one now.
    """
    total = hashlib.sha256()
    title = title or place.name
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    for file in files:
        below = file.relative_to(place)
        total.update(str(Path(title) / below).encode() + b"\0")
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                total.update(piece)
    return total.hexdigest()[:16]


def fetch_from_disk(
    source: Path, target: Path, patterns: Patterns, digest: str, cache: ModelCache
) -> None:
    """Copies a folder's files, or a file, below ``target``, which is an empty folder.

    Raises :class:`ArtifactError`.
    """
    if not digest or not cache.keeps:
        _copy(source, target, patterns)
        return
    if _taken(source, target, digest, cache):
        return
    _copy(source, target, patterns)
    copied = target if source.is_dir() else target / source.name
    if digest_of(copied, source.name) == digest:
        _keep(source, target, digest, cache)


class _NotKept(Exception):
    """The cache does not have it."""


def _absent(_: Path) -> NoReturn:
    raise _NotKept


def _taken(source: Path, target: Path, digest: str, cache: ModelCache) -> bool:
    """Whether all files of a digest were kept, and are in their places now."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "listing"
        try:
            cache.fetch(_name(source, digest), listing, _absent)
            for below in json.loads(listing.read_text()):
                cache.fetch(_name(source, digest, below), target / below, _absent)
        except _NotKept:
            shutil.rmtree(target)
            target.mkdir()
            return False
    return True


def _keep(source: Path, target: Path, digest: str, cache: ModelCache) -> None:
    """Keeps all files that were copied, and then their list."""
    files = [str(p.relative_to(target)) for p in sorted(target.rglob("*")) if p.is_file()]
    for below in files:
        cache.fetch(_name(source, digest, below), target / below, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "listing"
        listing.write_text(json.dumps(files))
        cache.fetch(_name(source, digest), listing, lambda _: None)


def _name(source: Path, digest: str, below: str = "") -> str:
    """What the cache knows a file by; without one, the list of them."""
    return f"{source} as {digest}: {below}"


def _copy(source: Path, target: Path, patterns: Patterns) -> None:
    def unwanted(folder: str, names: list[str]) -> list[str]:
        below = Path(folder).relative_to(source)
        return [
            one
            for one in names
            if not (source / below / one).is_dir() and not patterns.takes(str(below / one))
        ]

    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=unwanted)
    elif source.is_file():
        shutil.copy2(source, target / source.name)
    else:
        raise ArtifactError(
            f"{source} does not exist on the machine the pod runs on; check storageUri"
        )
