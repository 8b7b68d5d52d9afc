"""Fetches a model by its address into a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from kubeling.serving.storage import archives, registry, web
from kubeling.serving.storage.errors import StorageError
from kubeling.serving.storage.gcs import GcsBucket
from kubeling.serving.storage.s3 import S3Bucket
from kubeling.serving.storage.settings import store_settings
from kubeling.serving.storage.uris import ModelUri, UnknownScheme, parse_uri

__all__ = ["Bucket", "download"]

_AT_ONCE: Final = 4


class Bucket(Protocol):
    """Reads one bucket of an object store. ``save`` may be called from several threads."""

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``, in any order."""
        ...

    def save(self, key: str, target: Path) -> None:
        """Writes an object to a file whose folder exists."""
        ...


def download(uri: str, target: Path, env: Mapping[str, str]) -> list[Path]:
    """Fetches a model and returns its files; raises :class:`StorageError`.

    A folder arrives with its structure below ``target``, a file under its own name; one archive
    is unpacked.
    """
    target.mkdir(parents=True, exist_ok=True)
    env = store_settings(env)
    address = _parse(uri)
    if address.scheme == "model-registry":
        address = _parse(registry.resolve(address, env))
    match address.scheme:
        case "file":
            _copy(Path(address.path), target)
        case "http" | "https":
            _fetch(address, target)
        case "gs":
            _copy_objects(GcsBucket(address.root, env), address, target, env)
        case "s3" | "minio":
            _copy_objects(S3Bucket(address.root, env), address, target, env)
        case scheme:
            raise StorageError(f"{scheme}:// is mounted into the pod, not fetched")
    _unpack_single(target)
    return sorted(path for path in target.rglob("*") if path.is_file())


def _parse(uri: str) -> ModelUri:
    try:
        return parse_uri(uri)
    except UnknownScheme as error:
        raise StorageError(f"{error}:// is not a known kind of storage") from None
    except ValueError as error:
        raise StorageError(f'"{uri}" {error}') from None


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        shutil.copy2(source, target / source.name)
    else:
        raise StorageError(
            f"{source} does not exist on the machine the pod runs on; check storageUri"
        )


def _fetch(address: ModelUri, target: Path) -> None:
    name = PurePosixPath(address.path.partition("?")[0]).name or "model"
    try:
        headers = web.save(address.text, target / name)
    except web.HttpStatus as error:
        hint = "check storageUri" if error.status == 404 else "may it be read without signing in?"
        raise StorageError(f"the server answered HTTP {error.status}; {hint}") from None
    if not archives.is_archive(name):
        kind = headers.get("Content-Type", "").partition(";")[0]
        suffix = {"application/zip": ".zip", "application/x-tar": ".tar"}.get(kind)
        if suffix:
            (target / name).rename(target / f"{name}{suffix}")


def _copy_objects(bucket: Bucket, address: ModelUri, target: Path, env: Mapping[str, str]) -> None:
    wanted = {key: path for key, path in _relative(bucket, address) if _allowed(path, env)}
    if not wanted:
        raise StorageError(
            f'there is no object "{address.path}" and none below it in bucket "{address.root}"; '
            "check the path in storageUri"
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for copied in [
            pool.submit(bucket.save, key, _inside(target, path)) for key, path in wanted.items()
        ]:
            copied.result()


def _relative(bucket: Bucket, address: ModelUri) -> Iterator[tuple[str, str]]:
    """The keys of the model with their paths below the target: one object, or those of a folder."""
    exact = address.path.rstrip("/")
    for key in bucket.keys(exact):
        if key == exact:
            yield key, PurePosixPath(key).name
        elif key.startswith(address.directory_prefix) and not key.endswith("/"):
            yield key, key[len(address.directory_prefix) :]


def _allowed(path: str, env: Mapping[str, str]) -> bool:
    allow = env.get("STORAGE_ALLOW_PATTERNS", "").split()
    ignore = env.get("STORAGE_IGNORE_PATTERNS", "").split()
    if any(fnmatch(path, pattern) for pattern in ignore):
        return False
    return not allow or any(fnmatch(path, pattern) for pattern in allow)


def _inside(target: Path, relative: str) -> Path:
    path = (target / relative).resolve()
    if not path.is_relative_to(target.resolve()):
        raise StorageError(f'object "{relative}" would be written outside of the model\'s folder')
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _unpack_single(target: Path) -> None:
    files = [path for path in target.iterdir() if not path.name.startswith(".")]
    if len(files) == 1 and files[0].is_file() and archives.is_archive(files[0].name):
        archives.unpack(files[0], target)
