"""Ownership of fields on every write, and whether a write changes anything at all."""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.apiserver.apply import Applied, record_update
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.served import Served
from kubeling.kube.objects import Obj

__all__ = ["author", "record_fields", "unchanged"]

_RESET: Final[tuple[list[Obj], list[Obj]]] = ([], [{}])


def author(served: Served, options: WriteOptions, now: dt.datetime) -> Applied:
    """Who makes the write, as ``managedFields`` names writers."""
    return Applied(
        manager=options.field_manager or "unknown",
        api_version=served.resource.api_version,
        now=now,
        subresource=options.subresource,
        force=options.force,
    )


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
    if new["metadata"].get("managedFields") in _RESET and "managedFields" in old["metadata"]:
        return False
    return _plain(new) == _plain(old)


def _plain(obj: Obj) -> Obj:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}
