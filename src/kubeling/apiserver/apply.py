"""Server-side apply: who owns which field, and what that means for a write.

Ownership is kept in ``metadata.managedFields`` as sets of paths (FieldsV1). An applier owns what
its manifest states; what it stops stating, and nobody else owns, goes away; what another manager
owns with another value is a conflict unless forced. Writers that do not apply own what they change.
The semantics are those of structured-merge-diff, of which no Python implementation exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from kubeling.apiserver.fieldsets import (
    FieldSet,
    Path,
    decode_fields,
    encode_fields,
    field_set,
    find_item,
    is_key,
    value_at,
)
from kubeling.apiserver.fieldtrees import (
    changed_fields,
    element_of,
    stated_fields,
    with_fields,
    without_fields,
)
from kubeling.apiserver.managers import (
    Applied,
    adopted,
    conflict,
    contested,
    entry_of,
    is_entry,
    new_entry,
    ordered,
    stripped,
    written_entries,
)
from kubeling.apiserver.schema import Schema
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["Applied", "apply", "merge_applied", "record_update"]


def apply(live: Obj | None, applied: Obj, schema: Schema | None, by: Applied) -> Obj:
    """The object after ``by`` applies a manifest; raises :class:`Conflict` naming the owners.

    The result carries the new ``managedFields``; it equals ``live`` when nothing changes.
    """
    applied = cast(Obj, deep_copy(applied))
    applied.get("metadata", {}).pop("managedFields", None)
    wanted = field_set(applied, schema)
    if live is None:
        applied["metadata"]["managedFields"] = [new_entry(by, "Apply", encode_fields(wanted))]
        return applied
    entries = adopted(live, schema, by)
    mine = next((entry for entry in entries if is_entry(entry, by, "Apply")), None)
    others = [entry for entry in entries if entry is not mine]
    owned = decode_fields(mine["fieldsV1"]) if mine else frozenset()
    merged: Obj = _merge(live, applied, schema)
    if dropped := _unowned(owned - wanted, wanted, others):
        merged = _without(merged, dropped, wanted, schema)
    changed = {
        path for path in wanted if value_at(live, path, schema) != value_at(merged, path, schema)
    }
    disputed = contested(changed, others)
    if disputed and not by.force:
        raise conflict(disputed)
    others = stripped(others, encode_fields(path for _, path in disputed))
    fresh = entry_of(by, "Apply", encode_fields(wanted), mine)
    merged["metadata"] = {**merged["metadata"], "managedFields": ordered([fresh, *others])}
    return merged


def record_update(old: Obj | None, new: Obj, schema: Schema | None, by: Applied) -> None:
    """Notes in ``new`` that a writer who does not apply owns what it changed.

    An object whose notes someone has cleared stays without, until the next apply.
    """
    metadata = new["metadata"]
    if old is None:
        metadata["managedFields"] = [new_entry(by, "Update", stated_fields(new, schema))]
        return
    entries = written_entries(new, old, by)
    if not entries:
        metadata.pop("managedFields", None)
        return
    changed, gone = changed_fields(old, new, schema)
    mine = next((entry for entry in entries if is_entry(entry, by, "Update")), None)
    others = [entry for entry in entries if entry is not mine]
    rest = stripped(stripped(others, changed), gone)
    owned = without_fields(mine["fieldsV1"], gone) if mine else {}
    if fields := with_fields(owned, changed):
        rest.append(entry_of(by, "Update", fields, mine))
    if rest:
        metadata["managedFields"] = ordered(rest)
    else:
        metadata.pop("managedFields", None)


def _unowned(paths: FieldSet, wanted: FieldSet, others: list[Obj]) -> set[Path]:
    """The paths of which neither they nor anything below is stated by anyone."""
    taken = wanted.union(*(decode_fields(entry["fieldsV1"]) for entry in others))
    above = {path[:length] for path in taken for length in range(1, len(path) + 1)}
    return set(paths - above)


# Merging and removing


def merge_applied(live: Obj, applied: Obj, schema: Schema | None) -> Obj:
    """What applying does to the fields, where nobody's ownership is asked; shares parts."""
    return cast(Obj, _merge(live, applied, schema))


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
