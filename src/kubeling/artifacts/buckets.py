"""Buckets of object stores: S3 and what speaks its API, Google Cloud Storage, Azure Blob Storage.

Keys are paths: an artifact is the object of that name or, failing that, everything below it. Memory
use does not grow with an object's size.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, cast

import obstore

from kubeling.artifacts.errors import ArtifactAway, ArtifactDenied, ArtifactError, ArtifactNotFound

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore, S3Store

__all__ = ["Bucket", "StoredObject"]

_AT_ONCE: Final = 4
_SIGNED_FOR: Final = dt.timedelta(minutes=5)
_PART: Final = 8 << 20
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d+)")
_CAUSE: Final = re.compile(r'message: "([^"]+)"')


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of an artifact, its path below it, and its size in bytes.

    ``version`` changes with its content, where the store says so.
    """

    key: str
    path: str
    size: int
    version: str = ""


class Bucket:
    """One bucket. All methods block and may be called from any thread."""

    def __init__(self, store: ObjectStore, address: str, host: str, *, known: bool) -> None:
        self._store = store
        self.address = address
        self._name = address.partition("://")[2]
        self._host = host
        self._known = known
        """Whether we say who we are; it changes what a refusal means."""

    def address_to_make_it(self) -> str:
        """A signed address for the PUT that makes the bucket; those of S3's API only."""
        if not self._known:
            raise ArtifactDenied(f"{self.address} may not be made anonymously; name its keys")
        with self._told(""):
            return obstore.sign(cast("S3Store", self._store), "PUT", "", _SIGNED_FOR)

    def files(self, key: str) -> dict[str, str]:
        """The keys of an artifact, with their paths below it; one object's path is its name."""
        return {found.key: found.path for found in self.objects(key)}

    def objects(self, key: str) -> Iterator[StoredObject]:
        """The objects of an artifact, asked for as they are taken."""
        key = key.strip("/")
        with self._told(key):
            if key:
                with contextlib.suppress(FileNotFoundError):
                    meta = obstore.head(self._store, key)
                    path = PurePosixPath(key).name
                    yield StoredObject(key, path, meta["size"], self._version(meta))
                    return
            below = len(key) + 1 if key else 0
            for batch in obstore.list(self._store, key or None):
                for meta in batch:
                    if not meta["path"].endswith("/"):
                        path, version = meta["path"][below:], self._version(meta)
                        yield StoredObject(meta["path"], path, meta["size"], version)

    def _version(self, meta: ObjectMeta) -> str:
        tag = meta["e_tag"]
        if not tag:
            return ""
        place = f"{self._host}/{self.address}/{meta['path']}"
        return f"{place} {tag} {meta['size']} {meta['last_modified'].isoformat()}"

    def load(self, key: str, target: Path) -> None:
        """Writes an artifact, one object or a folder of them, to ``target``."""
        files = self.files(key)
        if not files:
            raise ArtifactNotFound(f"there is nothing at {self.address}/{key}")
        single = list(files) == [key.strip("/")]
        self.save_files({name: target if single else target / path for name, path in files.items()})

    def save_files(self, targets: Mapping[str, Path]) -> None:
        """Writes objects to files, several at once."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for written in [pool.submit(self.save, key, path) for key, path in targets.items()]:
                written.result()

    def save(self, key: str, target: Path) -> None:
        """Writes one object to a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._told(key), target.open("wb") as file:
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=1 << 20):
                file.write(chunk)

    def open(self, key: str) -> Iterator[bytes]:
        """An object's bytes, in pieces."""
        with self._told(key):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=1 << 18):
                yield bytes(chunk)

    def head(self, found: StoredObject, limit: int) -> bytes:
        """The first bytes of an object."""
        length = min(limit, found.size)
        with self._told(found.key):
            if not length:
                return b""
            return bytes(obstore.get_range(self._store, found.key, start=0, length=length))

    def store(self, source: Path, key: str) -> None:
        """Stores a file, or a folder with all that is in it."""
        if source.is_dir():
            files = [path for path in source.rglob("*") if path.is_file()]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for stored in [
                    pool.submit(self._put, path, f"{key}/{path.relative_to(source).as_posix()}")
                    for path in files
                ]:
                    stored.result()
        else:
            self._put(source, key)

    def delete(self, key: str) -> None:
        """Removes an artifact, or everything below it; what is not there is no error."""
        for found in self.files(key):
            with self._told(found), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, found)

    def _put(self, source: Path, key: str) -> None:
        with self._told(key):
            obstore.put(self._store, key, source, chunk_size=_PART)

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Turns the library's errors into one line that says what to do."""
        try:
            yield
        except obstore.exceptions.BaseError as error:
            raise self._refused(error, key) from None
        except (FileNotFoundError, PermissionError) as error:
            if error.filename is not None:
                raise  # a file of this machine
            raise self._refused(error, key) from None
        except ValueError as error:
            raise ArtifactError(f"{self.address}/{key} is no key: {error}") from None

    def _refused(self, error: Exception, key: str) -> ArtifactError:
        text = str(error)
        code = found[1] if (found := _CODE.search(text)) else ""
        status = found[1] if (found := _STATUS.search(text)) else ""
        if code in ("NoSuchBucket", "ContainerNotFound"):
            return ArtifactError(
                f'there is no bucket "{self._name}" at {self._host}; check the name, the region '
                "and the endpoint"
            )
        if status in ("401", "403"):
            who = "with the given keys" if self._known else "anonymously"
            return ArtifactDenied(f"{self.address}/{key} may not be used {who} ({code or status})")
        if isinstance(error, FileNotFoundError):
            return ArtifactNotFound(f"there is nothing at {self.address}/{key}")
        if not status:
            why = found[1] if (found := _CAUSE.search(text)) else text.splitlines()[0]
            return ArtifactAway(
                f"cannot reach {self._host}: {why}; check the address and this machine's network "
                "or proxy"
            )
        away = status == "429" or status.startswith("5")
        text = f"{self.address}/{key}: HTTP {status} {code}".rstrip()
        return ArtifactAway(text) if away else ArtifactError(text)
