"""Which form of an answer the client wants, and how to make it: plain, Table, metadata only."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, cast

from kubeling.apiserver.columns import Column
from kubeling.apiserver.listing import Change, Changes
from kubeling.apiserver.query import Query
from kubeling.apiserver.served import Served
from kubeling.apiserver.tables import IncludeObject, columns_of, to_table
from kubeling.kube.errors import BadRequest, NotAcceptable
from kubeling.kube.objects import Obj

__all__ = [
    "PLAIN",
    "Representation",
    "changes_form",
    "negotiate",
    "represent",
    "represent_changes",
]

Media = Literal["application/json", "application/yaml"]

_ACCEPTED: Final = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_JSON: Final = ("application/json", "application/*", "*/*")
_META: Final = "meta.k8s.io"


@dataclass(frozen=True, slots=True)
class Representation:
    """The media type to send, and the kind (``as``) to turn objects into, if any."""

    media: Media = "application/json"
    kind: str = ""
    group: str = ""
    version: str = ""


PLAIN: Final = Representation()


def negotiate(accept: str) -> Representation:
    """The first form an ``Accept`` header names that can be served."""
    if not accept or accept in _JSON:
        return PLAIN
    for entry in _by_quality(accept):
        media, *parameters = (part.strip() for part in entry.split(";"))
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media in _JSON:
            if "as" not in given:
                return PLAIN
            found = Representation(
                "application/json", given["as"], given.get("g", ""), given.get("v", "")
            )
            if _servable(found):
                return found
        elif media in ("application/yaml", "text/yaml"):
            return Representation("application/yaml")
    raise NotAcceptable("only the following media types are accepted: " + ", ".join(_ACCEPTED[:2]))


def represent(
    obj: Obj, served: Served, wanted: Representation, query: Query, now: dt.datetime
) -> Obj:
    """The object, or list, in the form wanted."""
    match wanted.kind:
        case "Table":
            metadata = obj.get("metadata", {})
            listed = obj.get("items")
            if listed is None:
                metadata = {"resourceVersion": metadata.get("resourceVersion", "")}
            rows = [obj] if listed is None else listed
            return _table(rows, _columns(served), wanted, query, now, metadata, header=True)
        case "PartialObjectMetadata" if "items" not in obj:
            return _partial(obj, wanted.version)
        case "PartialObjectMetadataList" if "items" in obj:
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"{_META}/{wanted.version}",
                "metadata": obj["metadata"],
                "items": [_partial(item, wanted.version) for item in obj["items"]],
            }
        case _:
            return obj


async def represent_changes(
    changes: Changes,
    served: Served,
    wanted: Representation,
    query: Query,
    now: Callable[[], dt.datetime],
) -> Changes:
    """Changes with their objects in the form wanted; the first Table names its columns."""
    columns = _columns(served)
    header = True
    async with contextlib.aclosing(changes):
        async for together in changes:
            shown = []
            for change in together:
                if wanted.kind == "Table":
                    metadata = {"resourceVersion": change.object["metadata"]["resourceVersion"]}
                    rows = [] if change.type == "BOOKMARK" else [change.object]
                    table = _table(rows, columns, wanted, query, now(), metadata, header=header)
                    shown.append(Change(change.type, table))
                    header = False
                else:
                    partial = _partial(change.object, wanted.version)
                    shown.append(Change(change.type, partial, None, change.event))
            yield shown


def changes_form(wanted: Representation, form: str) -> str:
    """What names the form, if it is the same for every watcher: Tables tell ages."""
    return "" if wanted.kind == "Table" or not form else f"{form} {wanted.kind}/{wanted.version}"


def _table(
    objects: list[Obj],
    columns: list[Column],
    wanted: Representation,
    query: Query,
    now: dt.datetime,
    metadata: Obj,
    *,
    header: bool,
) -> Obj:
    include = query.get("includeObject", "Metadata")
    if include not in ("Metadata", "Object", "None"):
        raise BadRequest(f"includeObject: {include!r} is not None, Metadata or Object")
    table = to_table(
        objects,
        columns,
        now,
        include=cast(IncludeObject, include),
        metadata=metadata,
        header=header,
    )
    return {**table, "apiVersion": f"{_META}/{wanted.version}"}


def _columns(served: Served) -> list[Column]:
    return columns_of(served.resource.group, served.resource.kind, served.columns)


def _partial(obj: Obj, version: str) -> Obj:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"{_META}/{version}",
        "metadata": obj["metadata"],
    }


def _servable(wanted: Representation) -> bool:
    if wanted.group == "apidiscovery.k8s.io":
        return wanted.kind == "APIGroupDiscoveryList" and wanted.version in ("v2", "v2beta1")
    return (
        wanted.group == _META
        and wanted.version in ("v1", "v1beta1")
        and wanted.kind in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
    )


def _by_quality(accept: str) -> list[str]:
    entries = [entry.strip() for entry in accept.split(",") if entry.strip()]
    return sorted(entries, key=_quality, reverse=True)


def _quality(entry: str) -> float:
    for part in entry.split(";")[1:]:
        key, _, value = part.strip().partition("=")
        if key == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
