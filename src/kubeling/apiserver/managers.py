"""Field managers: their entries in ``metadata.managedFields``, and their disputes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal

import msgspec

from kubeling.apiserver.fieldsets import (
    Path,
    encode_fields,
    field_set,
    is_field_set,
    owns,
)
from kubeling.apiserver.fieldtrees import without_fields
from kubeling.apiserver.schema import Schema
from kubeling.kube.errors import Conflict
from kubeling.kube.objects import Obj, format_time

__all__ = [
    "Applied",
    "adopted",
    "conflict",
    "contested",
    "entry_of",
    "is_entry",
    "new_entry",
    "ordered",
    "readable",
    "same_entries",
    "stripped",
    "written_entries",
]

Operation = Literal["Apply", "Update"]
Dispute = tuple[Obj, Path]
"""Someone's entry, and a path in it that another wants to change."""

_CLIENT_SIDE: Final = "kubectl-client-side-apply"
_BEFORE: Final = "before-first-apply"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Applied:
    """Who writes: a manager, in a version, perhaps only a subresource."""

    manager: str
    api_version: str
    now: dt.datetime
    subresource: str = ""
    force: bool = False


# Entries


def new_entry(by: Applied, operation: Operation, fields: Obj) -> Obj:
    """An entry for what was written now."""
    entry: Obj = {
        "manager": by.manager,
        "operation": operation,
        "apiVersion": by.api_version,
        "time": format_time(by.now),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    if by.subresource:
        entry["subresource"] = by.subresource
    return entry


def entry_of(by: Applied, operation: Operation, fields: Obj, old: Obj | None) -> Obj:
    """The entry for these fields: ``old`` itself, time included, if it says the same."""
    if old is not None and old["fieldsV1"] == fields and old.get("apiVersion") == by.api_version:
        return old
    return new_entry(by, operation, fields)


def is_entry(entry: Obj, by: Applied, operation: Operation) -> bool:
    """Whether an entry is the writer's own for that operation."""
    return (
        entry.get("manager") == by.manager
        and entry.get("operation") == operation
        and entry.get("subresource", "") == by.subresource
        and (operation == "Apply" or entry.get("apiVersion") == by.api_version)
    )


def ordered(entries: list[Obj]) -> list[Obj]:
    """Entries as they are listed: appliers first, each kind by time."""
    return sorted(
        entries,
        key=lambda e: (e["operation"], e.get("time", ""), e["manager"], e.get("apiVersion", "")),
    )


def same_entries(some: Any, others: Any) -> bool:
    """Whether two lists say the same, no matter how they spell the times."""
    return bool(some == others or _timeless(some) == _timeless(others))


def _timeless(entries: Any) -> Any:
    if not isinstance(entries, list):
        return entries
    return [
        {key: value for key, value in entry.items() if key != "time"}
        if isinstance(entry, dict)
        else entry
        for entry in entries
    ]


def stripped(entries: list[Obj], lost: Obj) -> list[Obj]:
    """The entries without these fields; those that named nothing else are gone."""
    kept = []
    for entry in entries:
        fields = entry["fieldsV1"]
        left = without_fields(fields, lost)
        if left is fields:
            kept.append(entry)
        elif left:
            kept.append({**entry, "fieldsV1": left})
    return kept


# Where entries come from


def adopted(live: Obj, schema: Schema | None, by: Applied) -> list[Obj]:
    """The entries an apply starts from.

    What nobody has noted belongs to those who came before; and a kubectl that used to apply on
    its own side owns the same fields as an applier here.
    """
    entries: list[Obj] = list(live["metadata"].get("managedFields") or ())
    if not entries:
        before = Applied(_BEFORE, live.get("apiVersion", by.api_version), by.now)
        paths = field_set({k: v for k, v in live.items() if k != "status"}, schema)
        return [new_entry(before, "Update", encode_fields(paths))] if paths else []
    annotated = _LAST_APPLIED in (live["metadata"].get("annotations") or {})
    if by.manager != "kubectl" or not annotated or any(is_entry(e, by, "Apply") for e in entries):
        return entries
    return [
        {**entry, "manager": by.manager, "operation": "Apply"}
        if entry.get("manager") == _CLIENT_SIDE and entry.get("operation") == "Update"
        else entry
        for entry in entries
    ]


def written_entries(new: Obj, old: Obj, by: Applied) -> list[Obj]:
    """The entries an update starts from: those it brings, if it means to, or those there were.

    ``[]`` and ``[{}]`` clear them. Clients that know nothing of entries leave them out, and those
    that garble them are taken to know nothing.
    """
    known: list[Obj] = list(old["metadata"].get("managedFields") or ())
    given = new["metadata"].get("managedFields")
    if given is None or by.subresource:
        return known
    if given in ([], [{}]):
        return []
    if same_entries(given, known) or not all(_is_whole(entry) for entry in given):
        return known
    return list(given)


def _is_whole(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("operation") in ("Apply", "Update")
        and all(isinstance(entry.get(field), str) for field in ("manager", "apiVersion"))
        and is_field_set(entry.get("fieldsV1"))
    )


# Disputes


def contested(changed: Iterable[Path], others: list[Obj]) -> list[Dispute]:
    """Which of the changed paths others own."""
    paths = sorted(changed)
    return [(entry, path) for entry in others for path in paths if owns(entry["fieldsV1"], path)]


def conflict(disputes: list[Dispute]) -> Conflict:
    """The error that lists every disputed field under its owner."""
    named = sorted(((_called(entry), readable(path)) for entry, path in disputes))
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": field}
        for who, field in named
    ]
    if len(named) == 1:
        ((who, field),) = named
        told = f"1 conflict: conflict with {who}: {field}"
    else:
        lines = [f"{len(named)} conflicts:"]
        for who, fields in groupby(named, key=lambda one: one[0]):
            lines += [f"conflicts with {who}:", *(f"- {field}" for _, field in fields)]
        told = " ".join(lines[:2]) + "\n" + "\n".join(lines[2:])
    return Conflict(f"Apply failed with {told}", details={"causes": causes})


def _called(entry: Obj) -> str:
    name = f'"{entry["manager"]}"'
    if entry.get("subresource"):
        name += f' with subresource "{entry["subresource"]}"'
    return f"{name} using {entry['apiVersion']}" if entry["operation"] == "Update" else name


def readable(path: Path) -> str:
    """A path as people write it: ``.spec.ports[port=80]``."""
    text = ""
    for element in path:
        name = element[2:]
        if element.startswith("f:"):
            text += f".{name}"
        elif element.startswith("k:"):
            keys = msgspec.json.decode(name)
            text += "[" + ",".join(f"{key}={_json(value)}" for key, value in keys.items()) + "]"
        else:
            text += f"[={name}]"
    return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
