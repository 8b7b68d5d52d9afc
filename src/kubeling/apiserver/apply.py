"""Server-side apply: who owns which field, and what that means for a write.

Ownership is kept in ``metadata.managedFields`` as sets of paths (FieldsV1). An applier owns what
its manifest states; what it stops stating, and nobody else owns, goes away; what another manager
owns with another value is a conflict unless forced. Writers that do not apply own what they change.
The semantics are those of structured-merge-diff, of which no Python implementation exists.

A path is a tuple of elements: ``f:name`` (a field), ``k:{…}`` (a list item by its keys) or ``v:…``
(an item of a set), the spelling FieldsV1 uses.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from kubeling.apiserver.schema import Schema
from kubeling.kube.errors import Conflict
from kubeling.kube.objects import Obj, deep_copy, format_time

__all__ = ["Applied", "apply", "decode_fields", "encode_fields", "field_set", "record_update"]

Path = tuple[str, ...]
FieldSet = frozenset[Path]

_NEVER_OWNED: Final = frozenset(
    ("f:metadata", f"f:{name}")
    for name in (
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
        "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields",
        "generateName",
    )
)  # fmt: skip
_ENVELOPE: Final = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata",)})
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
        merged = _without(merged, dropped, wanted)
    changed = {path for path in wanted if _value_at(live, path) != _value_at(merged, path)}
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
        metadata["managedFields"] = [_new_entry(by, "Update", _tree(new, schema))]
        return
    changed, gone = _differences(old, new, schema)
    mine = next((e for e in entries if _is(e, by, "Update")), None)
    rest = _stripped([e for e in entries if e is not mine], changed | gone)
    if mine is not None and not gone and all(_owns(mine["fieldsV1"], path) for path in changed):
        rest.append(mine)
    else:
        owned = (decode_fields(mine["fieldsV1"]) if mine else frozenset()) | changed
        if left := owned - gone:
            rest.append(_entry(by, "Update", left, mine))
    if rest:
        metadata["managedFields"] = _sorted(rest)
    else:
        metadata.pop("managedFields", None)


def _differences(old: Obj, new: Obj, schema: Schema | None) -> tuple[FieldSet, FieldSet]:
    """The paths that are new or have a new value, and those that are gone.

    Only what differs is looked into, so the cost is that of the change, not of the object.
    """
    changed: set[Path] = set()
    gone: set[Path] = set()
    _compare(old, new, schema, (), changed, gone)
    return _ownable(changed), _ownable(gone - changed)


def _compare(
    old: Any, new: Any, schema: Schema | None, path: Path, changed: set[Path], gone: set[Path]
) -> None:
    if old == new:
        return
    if _is_open_map(old, schema) and _is_open_map(new, schema):
        for name in old.keys() | new.keys():
            here = (*path, f"f:{name}")
            if here in _NEVER_OWNED:
                continue
            below = schema.child(name) if schema is not None else None
            if name not in new:
                _collect(old[name], below, here, gone)
            elif name not in old:
                _collect(new[name], below, here, changed)
            else:
                _compare(old[name], new[name], below, here, changed, gone)
        return
    if schema is not None and _is_keyed(old, schema) and _is_keyed(new, schema):
        _compare_items(old, new, schema, path, changed, gone)
        return
    _collect(old, schema, path, gone)
    _collect(new, schema, path, changed)


def _compare_items(
    old: list[Any],
    new: list[Any],
    schema: Schema,
    path: Path,
    changed: set[Path],
    gone: set[Path],
) -> None:
    before = {_element(item, schema): item for item in old}
    after = {_element(item, schema): item for item in new}
    for element, item in after.items():
        if element is None:
            continue
        if element not in before:
            _collect_item(item, schema, (*path, element), changed)
        else:
            _compare(before[element], item, schema.items, (*path, element), changed, gone)
    for element, item in before.items():
        if element is not None and element not in after:
            _collect_item(item, schema, (*path, element), gone)


def _is_open_map(value: Any, schema: Schema | None) -> bool:
    return isinstance(value, dict) and bool(value) and not (schema is not None and schema.atomic)


def _is_keyed(value: Any, schema: Schema) -> bool:
    return isinstance(value, list) and bool(value) and schema.list_type in ("map", "set")


# Sets of fields


def field_set(obj: Obj, schema: Schema | None) -> FieldSet:
    """The leaves, and the items of keyed lists, that an object states."""
    found: set[Path] = set()
    _collect(obj, schema, (), found)
    return _ownable(found)


def _ownable(paths: set[Path]) -> FieldSet:
    return frozenset(
        path for path in paths if path[:2] not in _NEVER_OWNED and path not in _ENVELOPE
    )


def _collect(value: Any, schema: Schema | None, path: Path, found: set[Path]) -> None:
    if _is_open_map(value, schema):
        for name, inner in value.items():
            below = schema.child(name) if schema is not None else None
            _collect(inner, below, (*path, f"f:{name}"), found)
    elif schema is not None and _is_keyed(value, schema):
        for item in value:
            element = _element(item, schema)
            if element is not None:
                _collect_item(item, schema, (*path, element), found)
    elif path:
        found.add(path)


def _collect_item(item: Any, schema: Schema, path: Path, found: set[Path]) -> None:
    """An item of a keyed list is owned itself, and so are its fields."""
    found.add(path)
    if isinstance(item, dict):
        for name, inner in item.items():
            below = schema.items.child(name) if schema.items else None
            _collect(inner, below, (*path, f"f:{name}"), found)


def _element(item: Any, schema: Schema) -> str | None:
    if schema.list_type == "set":
        return "v:" + _text(item)
    if not isinstance(item, dict):
        return None
    keys = {}
    for key in schema.list_keys:
        value = item.get(key, schema.items.default_of(key) if schema.items else None)
        if value is None and key == "protocol":
            value = "TCP"
        if value is not None:
            keys[key] = value
    return "k:" + _text(keys) if keys else None


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def encode_fields(paths: Iterable[Path]) -> Obj:
    """A set of paths as FieldsV1; ``.`` marks an item that is itself in the set."""
    tree: Obj = {}
    for path in sorted(paths):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    return tree


def _tree(obj: Obj, schema: Schema | None) -> Obj:
    """What an object states, as FieldsV1: :func:`field_set` encoded, in one pass."""
    tree: Obj = _subtree(obj, schema)
    for name in ("f:apiVersion", "f:kind"):
        tree.pop(name, None)
    metadata = tree.get("f:metadata", {})
    for section, name in _NEVER_OWNED:
        tree.get(section, {}).pop(name, None)
    if not metadata:
        tree.pop("f:metadata", None)
    return tree


def _subtree(value: Any, schema: Schema | None) -> Obj:
    if _is_open_map(value, schema):
        return {
            f"f:{name}": _subtree(inner, schema.child(name) if schema is not None else None)
            for name, inner in value.items()
        }
    tree: Obj = {}
    if schema is not None and _is_keyed(value, schema):
        for item in value:
            element = _element(item, schema)
            if element is None:
                continue
            tree[element] = {".": {}} if element.startswith("k:") else {}
            if isinstance(item, dict):
                tree[element] |= _subtree(item, schema.items)
    return tree


def decode_fields(fields: Obj) -> FieldSet:
    """The paths that FieldsV1 names."""
    found: set[Path] = set()

    def walk(node: Obj, path: Path) -> None:
        below = {element: inner for element, inner in node.items() if element != "."}
        if path and (not below or "." in node):
            found.add(path)
        for element, inner in below.items():
            walk(inner, (*path, element))

    walk(fields, ())
    return frozenset(found)


# Values at paths


_MISSING: Final = object()


def _value_at(obj: Any, path: Path) -> Any:
    for element in path:
        kind, text = element[0], element[2:]
        if kind == "f":
            if not isinstance(obj, dict) or text not in obj:
                return _MISSING
            obj = obj[text]
            continue
        found = _find(obj, kind, text) if isinstance(obj, list) else None
        if found is None:
            return _MISSING
        obj = found[0]
        if kind == "v" or element is path[-1]:
            # An item stands for its presence; its fields have paths of their own.
            return True
    return obj


def _find(items: list[Any], kind: str, text: str) -> tuple[Any, int] | None:
    wanted = msgspec.json.decode(text)
    for index, item in enumerate(items):
        if kind == "v" and item == wanted:
            return item, index
        if kind == "k" and isinstance(item, dict) and _has_keys(item, wanted):
            return item, index
    return None


def _has_keys(item: Obj, keys: Obj) -> bool:
    return all(item.get(key, "TCP" if key == "protocol" else None) == keys[key] for key in keys)


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
        element = _element(item, schema)
        found = _find(merged, "k", element[2:]) if element else None
        if found is None:
            merged.append(item)
        else:
            merged[found[1]] = _merge(found[0], item, schema.items)
    return merged


def _without(obj: Obj, dropped: Iterable[Path], wanted: FieldSet) -> Obj:
    result: Obj = deep_copy(obj)
    removed: set[Path] = set()
    for path in sorted(dropped, key=len):
        # An item goes as a whole: without its keys the rest of it could not be found.
        if not any(path[:length] in removed for length in range(1, len(path))):
            _remove(result, path, wanted)
            removed.add(path)
    return result


def _remove(node: Any, path: Path, wanted: FieldSet) -> None:
    trail: list[tuple[Any, Any]] = []
    for element in path:
        kind, text = element[0], element[2:]
        if kind == "f":
            if not isinstance(node, dict) or text not in node:
                return
            trail.append((node, text))
            node = node[text]
        else:
            found = _find(node, kind, text) if isinstance(node, list) else None
            if found is None:
                return
            trail.append((node, found[1]))
            node = found[0]
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
        lost = frozenset(path for path in paths if _owns(entry["fieldsV1"], path))
        if not lost:
            kept.append(entry)
        elif left := decode_fields(entry["fieldsV1"]) - lost:
            kept.append({**entry, "fieldsV1": encode_fields(left)})
    return kept


def _owns(fields: Obj, path: Path) -> bool:
    """Whether FieldsV1 names exactly this path."""
    node: Any = fields
    for element in path:
        node = node.get(element)
        if node is None:
            return False
    return "." in node or not node


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
            text += "[" + ",".join(f"{k}={_text(v)}" for k, v in keys.items()) + "]"
        else:
            text += f"[={name}]"
    return text
