"""The part of an object that belongs to the server: identity, versions, times, finalizers."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from collections.abc import Iterator
from typing import Any, Final

from kubeling.apiserver.decoding import check_metadata
from kubeling.apiserver.uids import new_uid
from kubeling.kube.errors import BadRequest, Conflict, FieldError
from kubeling.kube.objects import Obj, format_time
from kubeling.kube.resources import Resource

__all__ = [
    "begin",
    "carry_over",
    "check_identity",
    "generated_name",
    "immutable_errors",
    "named",
    "separate",
]

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_MAX_NAME: Final = 63
_SUFFIX: Final = 5
_SYSTEM: Final = (
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)
_EMPTY_DROPPED: Final = ("labels", "annotations", "finalizers", "ownerReferences")


def generated_name(prefix: str) -> str:
    """``prefix`` and five random characters, cut to fit a label."""
    suffix = "".join(random.choices(_LETTERS, k=_SUFFIX))
    return prefix[: _MAX_NAME - _SUFFIX] + suffix


@contextlib.contextmanager
def named(obj: Obj) -> Iterator[None]:
    """Lends a name to a new object that is to be given one, for rules that read it."""
    metadata = obj["metadata"]
    if metadata.get("name") or not metadata.get("generateName"):
        yield
        return
    metadata["name"] = generated_name(metadata["generateName"])
    try:
        yield
    finally:
        del metadata["name"]


def separate(obj: Any) -> Any:
    """A copy whose own fields and metadata can be set without changing ``obj``."""
    if not isinstance(obj, dict):
        return obj
    metadata = obj.get("metadata")
    return {**obj, "metadata": dict(metadata) if isinstance(metadata, dict) else metadata}


def check_identity(
    obj: Any, resource: Resource, namespace: str, name: str = "", old: Obj | None = None
) -> None:
    """Fills in kind, namespace and name from the URL; raises where the body disagrees.

    Metadata that is as it was in ``old`` needs no second look.
    """
    if not isinstance(obj, dict):
        raise BadRequest(f"the body must be a {resource.kind} object")
    kind = obj.setdefault("kind", resource.kind) or resource.kind
    api_version = obj.setdefault("apiVersion", resource.api_version) or resource.api_version
    if api_version != resource.api_version:
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if kind != resource.kind:
        raise BadRequest(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: the '
            f"address expects {resource.kind} ({resource.api_version})"
        )
    obj["kind"], obj["apiVersion"] = kind, api_version
    metadata = obj.get("metadata")
    if old is None or metadata != old["metadata"]:
        check_metadata(obj, kind, resource.version)
    if metadata is None:
        metadata = obj["metadata"] = {}
    _check_namespace(metadata, resource, namespace)
    if name and metadata.setdefault("name", name) != name:
        raise BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({name})"
        )


def _check_namespace(metadata: Obj, resource: Resource, namespace: str) -> None:
    if not resource.namespaced:
        metadata.pop("namespace", None)
        return
    given = metadata.get("namespace")
    if given and namespace and given != namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the "
            f"request: {given} is not {namespace}"
        )
    if not given and not namespace:
        raise BadRequest("an empty namespace may not be set during creation")
    metadata["namespace"] = given or namespace


def begin(obj: Obj, now: dt.datetime, *, has_generation: bool) -> None:
    """Gives a new object its identity."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise BadRequest("resourceVersion should not be set on objects to be created")
    for field in (*_SYSTEM, "resourceVersion"):
        metadata.pop(field, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated_name(metadata["generateName"])
    metadata["uid"] = new_uid()
    metadata["creationTimestamp"] = format_time(now)
    if has_generation:
        metadata["generation"] = 1
    _tidy(metadata)


def carry_over(new: Obj, old: Obj, resource: Resource) -> None:
    """Keeps what a client cannot change; raises :class:`Conflict` if it means another object."""
    metadata, before = new["metadata"], old["metadata"]
    if metadata.get("uid") and metadata["uid"] != before["uid"]:
        why = (
            f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: "
            f"{before['uid']}"
        )
        raise Conflict.of(resource.group, resource.plural, before["name"], why)
    metadata["uid"] = before["uid"]
    for field in _SYSTEM:
        if field in before:
            metadata[field] = before[field]
        else:
            metadata.pop(field, None)
    if "generateName" in before:
        metadata.setdefault("generateName", before["generateName"])
    _tidy(metadata)


def immutable_errors(new: Obj, old: Obj) -> list[FieldError]:
    """What an update may not do to ``metadata``."""
    added = set(new["metadata"].get("finalizers") or ()) - set(
        old["metadata"].get("finalizers") or ()
    )
    if added and "deletionTimestamp" in old["metadata"]:
        message = (
            "no new finalizers can be added if the object is being deleted, found new finalizers "
            + ", ".join(sorted(added))
        )
        return [FieldError("metadata.finalizers", "Forbidden", message)]
    return []


def _tidy(metadata: Obj) -> None:
    for field in _EMPTY_DROPPED:
        if field in metadata and not metadata[field]:
            del metadata[field]
