"""Server-side apply: who owns which field, and what that means for a write.

Ownership is kept in ``metadata.managedFields`` as sets of paths (FieldsV1). An applier owns what
its manifest states; what it stops stating, and nobody else owns, goes away; what another manager
owns with another value is a conflict unless forced. Writers that do not apply own what they change.
The semantics are those of structured-merge-diff, of which no Python implementation exists.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from kubeling.apiserver.fieldsets import (
    FieldSet,
    Path,
    decode_fields,
    differences,
    element_of,
    encode_fields,
    field_set,
    find_item,
    is_key,
    owns,
    stated_fields,
    value_at,
)
from kubeling.apiserver.schema import Schema
from kubeling.kube.errors import Conflict
from kubeling.kube.objects import Obj, deep_copy, format_time

__all__ = ["Applied", "apply", "record_update"]

_CLIENT_SIDE: Final = "kubectl-client-side-apply"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Applied:
    """Who writes: a manager, in a version, perhaps only a subresource."""

    manager: str
    api_version: str
    now: dt.datetime
    subresource: str = ""
    force: bool = False


def apply(live: Obj | None, applied: Obj, schema: Schema | None, by: Applied) -> Obj:
    """The object after ``by`` applies a manifest; raises :class:`Conflict` naming the owners.

    The result carries the new ``managedFields``; it equals ``live`` when nothing changes.
    """
    applied = cast(Obj, deep_copy(applied))
    applied.get("metadata", {}).pop("managedFields", None)
    wanted = field_set(applied, schema)
    if live is None:
        entry = _entry(by, "Apply", wanted, None)
        applied["metadata"]["managedFields"] = [entry]
        return applied
    entries = _upgraded(live, by)
    mine = next((e for e in entries if _is(e, by, "Apply")), None)
    owned = decode_fields(mine["fieldsV1"]) if mine else frozenset()
    merged: Obj = _merge(live, applied, schema)
    dropped = _unowned(owned - wanted, wanted, [e for e in entries if e is not mine])
    if dropped:
        merged = _without(merged, dropped, wanted, schema)
    changed = {
        path for path in wanted if value_at(live, path, schema) != value_at(merged, path, schema)
    }
    others = [e for e in entries if e is not mine]
    contested = _contested(changed, others)
    if contested and not by.force:
        raise _conflict(contested)
    others = _stripped(others, {path for _, path in contested})
    fresh = _entry(by, "Apply", wanted, mine)
    merged["metadata"] = {**merged["metadata"], "managedFields": _sorted([fresh, *others])}
    return merged


def record_update(old: Obj | None, new: Obj, schema: Schema | None, by: Applied) -> None:
    """Notes in ``new`` that a writer who does not apply owns what it changed."""
    metadata = new["metadata"]
    given = metadata.get("managedFields")
    entries: list[Obj] = list((old or {}).get("metadata", {}).get("managedFields") or ())
    if given is not None and (not given or given == [{}]):
        entries = []
    if old is None:
        metadata["managedFields"] = [_new_entry(by, "Update", stated_fields(new, schema))]
        return
    changed, gone = differences(old, new, schema)
    mine = next((e for e in entries if _is(e, by, "Update")), None)
    rest = _stripped([e for e in entries if e is not mine], changed | gone)
    if mine is not None and not gone and all(owns(mine["fieldsV1"], path) for path in changed):
        rest.append(mine)
    else:
        owned = (decode_fields(mine["fieldsV1"]) if mine else frozenset()) | changed
        if left := owned - gone:
            rest.append(_entry(by, "Update", left, mine))
    if rest:
        metadata["managedFields"] = _sorted(rest)
    else:
        metadata.pop("managedFields", None)


# Merging and removing


def _merge(live: Any, applied: Any, schema: Schema | None) -> Any:
    if isinstance(applied, dict) and isinstance(live, dict):
        if schema is not None and schema.atomic:
            return applied
        merged = dict(live)
        for name, value in applied.items():
            below = schema.child(name) if schema is not None else None
            merged[name] = _merge(live[name], value, below) if name in live else value
        return merged
    if isinstance(applied, list) and isinstance(live, list) and schema is not None:
        if schema.list_type == "set":
            return [*live, *(item for item in applied if item not in live)]
        if schema.list_type == "map":
            return _merge_items(live, applied, schema)
    return applied


def _merge_items(live: list[Any], applied: list[Any], schema: Schema) -> list[Any]:
    merged = list(live)
    for item in applied:
        element = element_of(item, schema)
        found = find_item(merged, element, schema) if element else None
        if found is None:
            merged.append(item)
        else:
            merged[found[1]] = _merge(found[0], item, schema.items)
    return merged


def _without(obj: Obj, dropped: Iterable[Path], wanted: FieldSet, schema: Schema | None) -> Obj:
    result: Obj = deep_copy(obj)
    removed: set[Path] = set()
    for path in sorted(dropped, key=len):
        # An item goes as a whole or, if others own parts of it, keeps the keys it is known by.
        if is_key(path) or any(path[:length] in removed for length in range(1, len(path))):
            continue
        _remove(result, path, wanted, schema)
        removed.add(path)
    return result


def _remove(node: Any, path: Path, wanted: FieldSet, schema: Schema | None) -> None:
    trail: list[tuple[Any, Any]] = []
    for element in path:
        if element.startswith("f:"):
            name = element[2:]
            if not isinstance(node, dict) or name not in node:
                return
            trail.append((node, name))
            node, schema = node[name], schema.child(name) if schema is not None else None
        else:
            found = find_item(node, element, schema) if isinstance(node, list) else None
            if found is None:
                return
            trail.append((node, found[1]))
            node, schema = found[0], schema.items if schema is not None else None
    container, key = trail[-1]
    del container[key]
    # An emptied parent goes too, unless it is a section of the object or stated as empty.
    for length in range(len(path) - 1, 1, -1):
        container, key = trail[length - 1]
        if container[key] not in ({}, []) or isinstance(container, list) or path[:length] in wanted:
            return
        del container[key]


# Managers


def _is(entry: Obj, by: Applied, operation: str) -> bool:
    return (
        entry.get("manager") == by.manager
        and entry.get("operation") == operation
        and entry.get("subresource", "") == by.subresource
        and (operation == "Apply" or entry.get("apiVersion") == by.api_version)
    )


def _upgraded(live: Obj, by: Applied) -> list[Obj]:
    """The entries; a kubectl that used to apply on the client owns them as an applier now."""
    entries: list[Obj] = list(live["metadata"].get("managedFields") or ())
    annotated = _LAST_APPLIED in (live["metadata"].get("annotations") or {})
    if by.manager != "kubectl" or not annotated or any(_is(e, by, "Apply") for e in entries):
        return entries
    return [
        {**entry, "manager": by.manager, "operation": "Apply"}
        if entry.get("manager") == _CLIENT_SIDE and entry.get("operation") == "Update"
        else entry
        for entry in entries
    ]


def _unowned(paths: FieldSet, wanted: FieldSet, others: list[Obj]) -> set[Path]:
    """The paths of which neither they nor anything below is stated by anyone."""
    taken = wanted.union(*(decode_fields(entry["fieldsV1"]) for entry in others))
    kept = {path for path in paths if any(t[: len(path)] == path for t in taken)}
    return set(paths - kept)


def _contested(changed: set[Path], others: list[Obj]) -> list[tuple[Obj, Path]]:
    found = []
    for entry in others:
        owned = decode_fields(entry["fieldsV1"])
        found += [(entry, path) for path in sorted(changed & owned)]
    return found


def _stripped(entries: list[Obj], paths: Iterable[Path]) -> list[Obj]:
    kept = []
    for entry in entries:
        lost = frozenset(path for path in paths if owns(entry["fieldsV1"], path))
        if not lost:
            kept.append(entry)
        elif left := decode_fields(entry["fieldsV1"]) - lost:
            kept.append({**entry, "fieldsV1": encode_fields(left)})
    return kept


def _entry(by: Applied, operation: str, paths: FieldSet, old: Obj | None) -> Obj:
    fields = encode_fields(paths)
    if old is not None and old["fieldsV1"] == fields and old.get("apiVersion") == by.api_version:
        return old
    return _new_entry(by, operation, fields)


def _new_entry(by: Applied, operation: str, fields: Obj) -> Obj:
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


def _sorted(entries: list[Obj]) -> list[Obj]:
    return sorted(
        entries,
        key=lambda e: (e.get("operation", ""), e.get("time", ""), e["manager"], e["apiVersion"]),
    )


def _conflict(contested: list[tuple[Obj, Path]]) -> Conflict:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{entry["manager"]}"'
            + (f' with subresource "{entry["subresource"]}"' if entry.get("subresource") else "")
            + (f" using {entry['apiVersion']}" if entry["operation"] == "Update" else ""),
            "field": _readable(path),
        }
        for entry, path in contested
    ]
    managers = sorted({entry["manager"] for entry, _ in contested})
    fields = "\n".join(f"- {cause['field']}" for cause in causes)
    count = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    named = ", ".join(f'"{manager}"' for manager in managers)
    return Conflict(
        f"Apply failed with {count}: conflicts with {named}:\n{fields}"
        if len(causes) > 1
        else f"Apply failed with {count}: conflict with {named}: {causes[0]['field']}",
        details={"causes": causes},
    )


def _readable(path: Path) -> str:
    text = ""
    for element in path:
        kind, name = element[0], element[2:]
        if kind == "f":
            text += f".{name}"
        elif kind == "k":
            keys = msgspec.json.decode(name)
            text += (
                "["
                + ",".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in keys.items())
                + "]"
            )
        else:
            text += f"[={name}]"
    return text
