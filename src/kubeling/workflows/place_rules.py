"""What is wrong with the place an artifact is said to lie in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.places import KEYS, KINDS

__all__ = ["artifact_errors", "place_errors"]

_UNSUPPORTED: Final = {
    "hdfs": "Hadoop is not supported; put the artifact into an object store",
    "plugin": "artifact plugins are not supported; use one of the other kinds",
}
_INPUTS_ONLY: Final = ("git", "raw")
_REQUIRED: Final = {"git": "repo", "http": "url", "artifactory": "url"}
_COMPLETE: Final = {
    "s3": ("endpoint", "bucket"),
    "azure": ("endpoint", "container"),
    "oss": ("endpoint", "bucket"),
}
_ENCRYPTION: Final = {
    "serverSideCustomerKeySecret": "keys of your own are not supported; use kmsKeyId",
    "kmsEncryptionContext": "is not handed on; leave it out",
}
_MAX_TEXT: Final = 100 * 1024


def artifact_errors(artifact: Obj, path: str, *, output: bool = False) -> Iterator[FieldError]:
    """An artifact lies in one place: the platform's store (a key alone), a store of the user's, the
    web, a repository, or the manifest.
    """
    yield from place_errors(artifact, path)
    if output:
        for kind in _INPUTS_ONLY:
            if artifact.get(kind) is not None:
                yield FieldError(f"{path}.{kind}", "Forbidden", "can only be an input")
    if len(str((artifact.get("raw") or {}).get("data") or "")) > _MAX_TEXT:
        yield FieldError(f"{path}.raw.data", "Too long", "must be at most 100 KiB")


def place_errors(place: Obj, path: str) -> Iterator[FieldError]:
    """What is wrong with the part that artifacts share with ``archiveLocation``."""
    given = [kind for kind in KINDS if place.get(kind) is not None]
    for extra in given[1:]:
        yield FieldError(f"{path}.{extra}", "Forbidden", f"{given[0]} is given already")
    for kind in given[:1]:
        content: Obj = place[kind] or {}
        if kind in _UNSUPPORTED:
            yield FieldError(f"{path}.{kind}", "Forbidden", _UNSUPPORTED[kind])
        if (field := _REQUIRED.get(kind)) and not content.get(field):
            yield FieldError(f"{path}.{kind}.{field}", "Required value", "say where it lies")
        yield from _store_errors(kind, content, f"{path}.{kind}")


def _bucket_errors(kind: str, new: Any, path: str) -> Iterator[FieldError]:
    path = f"{path}.createBucketIfNotPresent"
    if kind != "s3":
        if new:
            message = "buckets are made in S3 only; make it first and leave this out"
            yield FieldError(path, "Forbidden", message)
    elif isinstance(new, dict) and new.get("objectLocking"):
        message = "buckets are made without a lock; make it first and leave this out"
        yield FieldError(f"{path}.objectLocking", "Forbidden", message)


def _store_errors(kind: str, content: Obj, path: str) -> Iterator[FieldError]:
    yield from _bucket_errors(kind, content.get("createBucketIfNotPresent"), path)
    if content.get("lifecycleRule"):
        message = "rules of a bucket are not set here; set them at the bucket itself"
        yield FieldError(f"{path}.lifecycleRule", "Forbidden", message)
    for field, message in _ENCRYPTION.items():
        if (content.get("encryptionOptions") or {}).get(field):
            yield FieldError(f"{path}.encryptionOptions.{field}", "Forbidden", message)
    parts = _COMPLETE.get(kind, ())
    lacking = [part for part in parts if not content.get(part)]
    if lacking and len(lacking) < len(parts):
        name = KEYS[kind]
        message = f"give it, or only {name} for an artifact in the repository"
        yield FieldError(f"{path}.{lacking[0]}", "Required value", message)
