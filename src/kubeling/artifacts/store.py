"""Artifacts by address: ``file://`` addresses and absolute paths.

Steps read and write artifacts as plain files, so on one machine the store is a folder that they
mount, and nothing is uploaded or downloaded. This class is for everybody else: controllers that
read what a step wrote, the dashboard that shows it, exports that copy it. An absolute path is an
address too, because that is the form in which unmodified pipeline components take one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, unquote, urlsplit

from kubeling.artifacts.errors import ArtifactError, ArtifactNotFound, written_error

__all__ = ["ArtifactError", "ArtifactInfo", "ArtifactNotFound", "ArtifactStore", "local_path"]

CHUNK: Final = 1 << 20

_Write = Callable[[Path], Any]
_Copy = Callable[[Path, Path], Any]
_Update = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """A file of an artifact: its address, its size in bytes and when it was last written."""

    uri: str
    size: int
    modified: float


class ArtifactStore:
    """Reads and writes artifacts under a root, and reads those elsewhere.

    Guarantees: an artifact written with :meth:`put` or :meth:`copy` appears whole or not at all,
    also after a crash; an existing one is replaced in one step. Memory use does not grow with the
    size of an artifact. All methods block and may be called from any thread; two writers of one
    address do not mix, the last one wins. What is stored is never changed in place, so copies may
    share it (hard links). Errors are :class:`ArtifactError`.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        if local_path(root) is None:
            scheme = urlsplit(root).scheme
            raise ArtifactError(
                f'artifact root "{root}": {scheme}:// stores are not available; '
                "use a file:// address"
            )

    @property
    def folder(self) -> Path:
        """The root as a folder, for mounting it into steps."""
        path = local_path(self.root)
        assert path is not None
        return path

    def local_path(self, uri: str) -> Path | None:
        """Where an artifact is on this machine, or ``None`` if it is elsewhere."""
        return local_path(uri)

    def put(self, uri: str, source: Path | bytes | BinaryIO) -> None:
        """Stores bytes, a stream, a file or a whole folder."""
        target = _local(uri)
        if isinstance(source, Path):
            self._place(target, lambda fresh: _copy_tree(source, fresh, shutil.copyfile))
        elif isinstance(source, bytes):
            self._place(target, lambda fresh: fresh.write_bytes(source))
        else:
            self._place(target, lambda fresh: _drain(source, fresh))

    def get(self, uri: str, target: Path) -> None:
        """Copies an artifact, file or folder, to a path."""
        source = self._existing(uri)
        self._place(target, lambda fresh: _copy_tree(source, fresh, shutil.copyfile))

    def open(self, uri: str) -> BinaryIO:
        """Opens a file for reading; the caller closes it."""
        return self._existing(uri).open("rb")

    def read(self, uri: str, limit: int = 16 << 20) -> bytes:
        """A small file's content; raises if it is larger than ``limit`` bytes."""
        with self.open(uri) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ArtifactError(f"{uri} is larger than {limit} bytes; read it as a stream")
        return data

    def list(self, uri: str) -> Iterator[ArtifactInfo]:
        """The files of an artifact or below an address, sorted; nothing if there is none."""
        path = _local(uri)
        if path.is_file():
            yield _info(path)
            return
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                yield _info(Path(folder) / name)

    def exists(self, uri: str) -> bool:
        return _local(uri).exists()

    def copy(self, source: str, target: str) -> None:
        """Copies an artifact within the store, sharing the bytes where the disk allows it."""
        found = self._existing(source)
        self._place(_local(target), lambda fresh: _copy_tree(found, fresh, _link_or_copy))

    def delete(self, uri: str) -> None:
        """Removes an artifact, or everything below an address; what is not there is no error."""
        path = _local(uri)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def make_folder(self, uri: str) -> Path:
        """Makes a folder that steps of any user may write to."""
        path = _local(uri)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise written_error(path, error) from error
        with contextlib.suppress(PermissionError):
            path.chmod(0o777)
        return path

    def digest(self, uri: str, limit: int = 64 << 20) -> str:
        """What identifies an artifact's content.

        The SHA-256 of names and bytes up to ``limit`` bytes; beyond, of names, sizes and times,
        because reading gigabytes to save a step is no saving.
        """
        path = self._existing(uri)
        files = list(self.list(uri))
        by_content = sum(file.size for file in files) <= limit
        digest = hashlib.sha256()
        for file in files:
            name = os.path.relpath(_local(file.uri), path)
            digest.update(f"{name}\0{file.size}\0".encode())
            if by_content:
                _hash_file(_local(file.uri), digest.update)
            else:
                digest.update(f"{file.uri}\0{file.modified}".encode())
        return ("sha256:" if by_content else "stat:") + digest.hexdigest()

    def _existing(self, uri: str) -> Path:
        path = _local(uri)
        if not path.exists():
            raise ArtifactNotFound(f"no artifact at {uri}")
        return path

    def _place(self, target: Path, write: _Write) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{target.name[:64]}.", dir=target.parent))
        except OSError as error:
            raise written_error(target, error) from error
        try:
            fresh = scratch / "new"
            write(fresh)
            _sync(fresh)
            if target.is_dir():
                target.rename(scratch / "old")
            os.replace(fresh, target)
        except OSError as error:
            raise written_error(target, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def local_path(uri: str) -> Path | None:
    """The path that an absolute path or a ``file://`` address names, else ``None``."""
    if uri.startswith("/"):
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None


def _local(uri: str) -> Path:
    path = local_path(uri)
    if path is None:
        raise ArtifactError(f"{uri}: only file:// addresses and absolute paths can be reached")
    return path


def _info(path: Path) -> ArtifactInfo:
    status = path.stat()
    return ArtifactInfo("file://" + quote(str(path)), status.st_size, status.st_mtime)


def _copy_tree(source: Path, target: Path, copy: _Copy) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=lambda a, b: copy(Path(a), Path(b)))
    elif source.exists():
        copy(source, target)
    else:
        raise ArtifactNotFound(f"no file at {source}")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _drain(source: BinaryIO, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)


def _sync(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _hash_file(path: Path, update: _Update) -> None:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            update(chunk)
