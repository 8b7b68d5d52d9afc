"""Fetches a model by its address into a folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactDenied, ArtifactError
from kubeling.serving.storage import archives, registry
from kubeling.serving.storage.buckets import model_bucket
from kubeling.serving.storage.settings import store_settings
from kubeling.serving.storage.uris import ModelUri, UnknownScheme, parse_uri

__all__ = ["download"]

_ADVICE: Final = {
    "gs": "put a service account's key into a secret as gcloud-application-credentials.json and "
    "name the secret in the pod's service account",
    "s3": "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in a secret of the service account",
}


def download(uri: str, target: Path, env: Mapping[str, str]) -> list[Path]:
    """Fetches a model and returns its files; raises :class:`ArtifactError`.

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
        case "gs" | "s3" | "minio":
            _copy_objects(address, target, env)
        case scheme:
            raise ArtifactError(f"{scheme}:// is mounted into the pod, not fetched")
    _unpack_single(target)
    return sorted(path for path in target.rglob("*") if path.is_file())


def _parse(uri: str) -> ModelUri:
    try:
        return parse_uri(uri)
    except UnknownScheme as error:
        raise ArtifactError(f"{error}:// is not a known kind of storage") from None
    except ValueError as error:
        raise ArtifactError(f'"{uri}" {error}') from None


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        shutil.copy2(source, target / source.name)
    else:
        raise ArtifactError(
            f"{source} does not exist on the machine the pod runs on; check storageUri"
        )


def _fetch(address: ModelUri, target: Path) -> None:
    name = PurePosixPath(address.path.partition("?")[0]).name or "model"
    try:
        headers = web.save(address.text, target / name)
    except web.HttpStatus as error:
        hint = "check storageUri" if error.status == 404 else "may it be read without signing in?"
        raise ArtifactError(f"the server answered HTTP {error.status}; {hint}") from None
    if not archives.is_archive(name):
        kind = headers.get("Content-Type", "").partition(";")[0]
        suffix = {"application/zip": ".zip", "application/x-tar": ".tar"}.get(kind)
        if suffix:
            (target / name).rename(target / f"{name}{suffix}")


def _copy_objects(address: ModelUri, target: Path, env: Mapping[str, str]) -> None:
    try:
        bucket = model_bucket(address, env)
        files = bucket.files(address.path)
        wanted = {key: path for key, path in files.items() if _allowed(path, env)}
        if not wanted:
            raise ArtifactError(
                f'there is no object "{address.path}" and none below it in bucket '
                f'"{address.root}"; check the path in storageUri'
            )
        bucket.save_files({key: _inside(target, path) for key, path in wanted.items()})
    except ArtifactDenied as error:
        raise ArtifactError(f"{error}; {_ADVICE.get(address.scheme, _ADVICE['s3'])}") from None


def _allowed(path: str, env: Mapping[str, str]) -> bool:
    allow = env.get("STORAGE_ALLOW_PATTERNS", "").split()
    ignore = env.get("STORAGE_IGNORE_PATTERNS", "").split()
    if any(fnmatch(path, pattern) for pattern in ignore):
        return False
    return not allow or any(fnmatch(path, pattern) for pattern in allow)


def _inside(target: Path, relative: str) -> Path:
    path = (target / relative).resolve()
    if not path.is_relative_to(target.resolve()):
        raise ArtifactError(f'object "{relative}" would be written outside of the model\'s folder')
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _unpack_single(target: Path) -> None:
    files = [path for path in target.iterdir() if not path.name.startswith(".")]
    if len(files) == 1 and files[0].is_file() and archives.is_archive(files[0].name):
        archives.unpack(files[0], target)
