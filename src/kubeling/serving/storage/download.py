"""Fetches a model by its address into a folder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from kubeling.artifacts import web
from kubeling.artifacts.addresses import shown_address
from kubeling.artifacts.buckets import Bucket, StoredObject
from kubeling.artifacts.errors import ArtifactDenied, ArtifactError
from kubeling.artifacts.places import place_inside
from kubeling.serving.storage import (
    archives,
    azure,
    hdfs,
    hubs,
    images,
    local,
    registry,
    repositories,
)
from kubeling.serving.storage.buckets import model_bucket
from kubeling.serving.storage.cache import ModelCache
from kubeling.serving.storage.patterns import Patterns
from kubeling.serving.storage.settings import store_settings
from kubeling.serving.storage.uris import ModelUri, UnknownScheme, parse_uri

__all__ = ["download"]

_BLOBS: Final = re.compile(r"^[^/]+\.blob\.(core\.windows\.net|storage\.azure\.net)$")

_FRESH: Final = ".fetching"
_AT_ONCE: Final = 4
_ADVICE: Final = {
    "gs": "put a service account's key into a secret as gcloud-application-credentials.json and "
    "name the secret in the pod's service account",
    "s3": "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in a secret of the service account",
}


def download(uri: str, target: Path, env: Mapping[str, str]) -> list[Path]:
    """Fetches a model and returns its files; raises :class:`ArtifactError`.

    A folder arrives with its structure below ``target``, a file under its own name; one archive
    is unpacked. All files appear at once, in place of those that an earlier run left: a pod's init
    containers run again when its node was restarted.
    """
    env = store_settings(env)
    address = _parse(uri)
    if address.scheme == "model-registry":
        address = _parse(registry.resolve(address, env))
    fresh = target / _FRESH
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _fetch(address, fresh, Patterns.of(env), env, ModelCache.of(env))
        _unpack_single(fresh)
        found = [path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()]
        _settle(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return sorted(target / path for path in found)


def _settle(fresh: Path, target: Path) -> None:
    """Moves all that is in a folder into another, which may have some of it."""
    for entry in list(fresh.iterdir()):
        place = target / entry.name
        if place.is_dir() and entry.is_dir() and not entry.is_symlink():
            _settle(entry, place)
        else:
            shutil.move(entry, place)


def _fetch(
    address: ModelUri,
    target: Path,
    patterns: Patterns,
    env: Mapping[str, str],
    cache: ModelCache,
) -> None:
    match address.scheme:
        case "file":
            digest = env.get(local.DIGEST_VARIABLE, "")
            local.fetch_from_disk(Path(address.path), target, patterns, digest, cache)
        case "http" | "https":
            _fetch_from_web(address, target, patterns, env, cache)
        case "gs" | "s3" | "minio":
            bucket = model_bucket(address, env)
            advice = _ADVICE.get(address.scheme, _ADVICE["s3"])
            _copy_objects(bucket, address.path, target, patterns, advice, cache)
        case "hf":
            hubs.fetch_from_hugging_face(address, target, patterns, env, cache)
        case "modelscope":
            hubs.fetch_from_model_scope(address, target, patterns, env, cache)
        case "hdfs" | "webhdfs":
            hdfs.fetch_from_hdfs(address, target, patterns, env)
        case "oci" | "oci+fetch":
            images.fetch_image(address, target, env)
        case scheme:
            raise ArtifactError(f"{scheme}:// is mounted into the pod, not fetched")


def _fetch_from_web(
    address: ModelUri,
    target: Path,
    patterns: Patterns,
    env: Mapping[str, str],
    cache: ModelCache,
) -> None:
    """What an address of the web leads to is told by its host and its end, as upstream does."""
    if _BLOBS.match(address.root):
        container, path = azure.blob_container(address, env)
        _copy_objects(container, path, target, patterns, azure.ADVICE, cache)
    elif address.path.endswith(".git"):
        repositories.clone(address, target, env)
    else:
        _save(address, target, env)


def _parse(uri: str) -> ModelUri:
    try:
        return parse_uri(uri)
    except UnknownScheme as error:
        raise ArtifactError(f"{error}:// is not a known kind of storage") from None
    except ValueError as error:
        raise ArtifactError(f'"{shown_address(uri)}" {error}') from None


def _save(address: ModelUri, target: Path, env: Mapping[str, str]) -> None:
    name = PurePosixPath(address.path.partition("?")[0]).name or "model"
    sent = _headers(address, env)
    try:
        headers = web.save(address.text, target / name, sent, secrets=sent)
    except web.HttpStatus as error:
        hint = "check storageUri" if error.status == 404 else "may it be read without signing in?"
        raise ArtifactError(f"the server answered HTTP {error.status}; {hint}") from None
    if not archives.is_archive(name):
        kind = headers.get("Content-Type", "").partition(";")[0]
        suffix = {"application/zip": ".zip", "application/x-tar": ".tar"}.get(kind)
        if suffix:
            (target / name).rename(target / f"{name}{suffix}")


def _headers(address: ModelUri, env: Mapping[str, str]) -> dict[str, str]:
    """What a secret with ``https-host`` and ``headers`` says that a host is to be sent."""
    host = urlsplit(address.text).hostname
    text = env.get(f"{host}-headers") or "{}"
    try:
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise ArtifactError(
            f"the key headers of the secret for {host} is no JSON object: {error}"
        ) from None


def _copy_objects(
    bucket: Bucket, key: str, target: Path, patterns: Patterns, advice: str, cache: ModelCache
) -> None:
    def fetch(found: StoredObject) -> None:
        place = place_inside(target, found.path)
        cache.fetch(found.version, place, lambda path: bucket.save(found.key, path))

    try:
        wanted = [found for found in bucket.objects(key) if patterns.takes(found.path)]
        if not wanted:
            title = bucket.address.partition("://")[2]
            raise ArtifactError(
                f'there is no object "{key}" and none below it in bucket "{title}"; check the '
                "path in storageUri"
            )
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for fetched in [pool.submit(fetch, found) for found in wanted]:
                fetched.result()
    except ArtifactDenied as error:
        raise ArtifactError(f"{error}; {advice}") from None


def _unpack_single(target: Path) -> None:
    files = [path for path in target.iterdir() if not path.name.startswith(".")]
    if len(files) == 1 and files[0].is_file() and archives.is_archive(files[0].name):
        archives.unpack(files[0], target)
