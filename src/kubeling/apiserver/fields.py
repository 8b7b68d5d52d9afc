"""Ownership of fields on every write, and whether a write changes anything at all."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import msgspec

from kubeling.apiserver.apply import Applied, apply, record_update
from kubeling.apiserver.managers import same_entries
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.schema import Schema
from kubeling.apiserver.served import Served
from kubeling.kube.objects import Obj

__all__ = ["applicable", "applied_by", "author", "record_fields", "unchanged"]

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion")


def author(served: Served, options: WriteOptions, now: dt.datetime) -> Applied:
    """Who makes the write, as ``managedFields`` names writers."""
    return Applied(
        manager=options.field_manager or "unknown",
        api_version=served.resource.api_version,
        now=now,
        subresource=options.subresource,
        force=options.force,
    )


def applicable(applied: Obj, served: Served, subresource: str) -> Obj:
    """The part of a manifest that can be applied here: a status has its own place to do that."""
    if subresource == "status":
        kept: Obj = {k: applied[k] for k in ("apiVersion", "kind", "status") if k in applied}
        metadata = applied.get("metadata") or {}
        return {**kept, "metadata": {key: metadata[key] for key in _IDENTITY if key in metadata}}
    if "status" in served.subresources:
        return {key: value for key, value in applied.items() if key != "status"}
    return applied


def applied_by(by: Applied, live: Obj, applied: Obj, schema: Schema | None) -> Obj:
    """The object after an apply; kubectl's note of its last manifest is kept true.

    Clients that merge on their own side read the note, so it must not fall behind where a person
    changes from one way to the other.
    """
    merged = apply(live, applied, schema, by)
    note = (live["metadata"].get("annotations") or {}).get(_LAST_APPLIED)
    if by.manager == "kubectl" and note is not None:
        if _decoded(note) != applied:
            note = msgspec.json.encode(applied, order="sorted").decode() + "\n"
        annotations = {**(merged["metadata"].get("annotations") or {}), _LAST_APPLIED: note}
        merged["metadata"] = {**merged["metadata"], "annotations": annotations}
    return merged


def record_fields(
    served: Served, new: Obj, old: Obj | None, options: WriteOptions, now: dt.datetime
) -> None:
    """Notes who owns what changed; an apply has noted it already."""
    if not options.applied:
        record_update(old, new, served.shape.merge_schema, author(served, options, now))


def unchanged(new: Obj, old: Obj, options: WriteOptions) -> bool:
    """Whether writing ``new`` over ``old`` would change nothing."""
    if options.applied:
        return new == old
    given = new["metadata"].get("managedFields")
    if given is not None and not same_entries(given, old["metadata"].get("managedFields") or []):
        return False
    return _plain(new) == _plain(old)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _plain(obj: Obj) -> Obj:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}
