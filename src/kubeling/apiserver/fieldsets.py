"""Sets of fields: which parts of an object someone states, and how FieldsV1 spells them.

A path is a tuple of elements: ``f:name`` (a field), ``k:{…}`` (a list item by its keys) or ``v:…``
(an item of a set), the spelling FieldsV1 uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kubeling.apiserver.schema import Schema
from kubeling.kube.objects import Obj

__all__ = [
    "MISSING",
    "FieldSet",
    "Path",
    "decode_fields",
    "differences",
    "element_of",
    "encode_fields",
    "field_set",
    "find_item",
    "is_field_set",
    "is_key",
    "owns",
    "stated_fields",
    "value_at",
]

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
MISSING: Final = object()
"""Where there is no value: like nothing else."""
_PRESENT: Final = object()
_ENVELOPE: Final = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata",)})


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
            element = element_of(item, schema)
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


def element_of(item: Any, schema: Schema) -> str | None:
    """How paths name an item of a keyed list."""
    if schema.list_type == "set":
        return "v:" + _text(item)
    if not isinstance(item, dict):
        return None
    keys = {}
    for key in schema.list_keys:
        value = item.get(key, _default(schema, key))
        if value is not None:
            keys[key] = value
    return "k:" + _text(keys) if keys else None


def _default(schema: Schema | None, key: str) -> Any:
    return schema.items.default_of(key) if schema is not None and schema.items else None


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


def stated_fields(obj: Obj, schema: Schema | None) -> Obj:
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
            element = element_of(item, schema)
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


def is_field_set(fields: Any) -> bool:
    """Whether something a client sent is FieldsV1."""
    return isinstance(fields, dict) and all(
        element == "." or (_is_element(element) and is_field_set(below))
        for element, below in fields.items()
    )


def _is_element(element: str) -> bool:
    if element.startswith("f:"):
        return True
    try:
        value = msgspec.json.decode(element[2:])
    except msgspec.DecodeError:
        return False
    return element.startswith("v:") or (element.startswith("k:") and isinstance(value, dict))


def differences(old: Obj, new: Obj, schema: Schema | None) -> tuple[FieldSet, FieldSet]:
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
    before = {element_of(item, schema): item for item in old}
    after = {element_of(item, schema): item for item in new}
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


def owns(fields: Obj, path: Path) -> bool:
    """Whether FieldsV1 names exactly this path."""
    node: Any = fields
    for element in path:
        node = node.get(element)
        if node is None:
            return False
    return "." in node or not node


def value_at(obj: Any, path: Path, schema: Schema | None) -> Any:
    """The value at a path, or :data:`MISSING`.

    Of what is shared out further (an object, a list item) it is only that it is there: what is in
    it has paths of its own.
    """
    last = len(path) - 1
    for place, element in enumerate(path):
        if element.startswith("f:"):
            name = element[2:]
            if not isinstance(obj, dict) or name not in obj:
                return MISSING
            obj, schema = obj[name], schema.child(name) if schema is not None else None
            continue
        found = find_item(obj, element, schema) if isinstance(obj, list) else None
        if found is None:
            return MISSING
        obj, schema = found[0], schema.items if schema is not None else None
        if place == last:
            return _PRESENT
    return _PRESENT if _is_shared(obj, schema) else obj


def _is_shared(value: Any, schema: Schema | None) -> bool:
    if isinstance(value, dict):
        return not (schema is not None and schema.atomic)
    return isinstance(value, list) and schema is not None and schema.list_type in ("map", "set")


def find_item(items: list[Any], element: str, schema: Schema | None) -> tuple[Any, int] | None:
    """The item that an element ``k:…`` or ``v:…`` names, and its place."""
    wanted = msgspec.json.decode(element[2:])
    for index, item in enumerate(items):
        if element.startswith("v:"):
            same = item == wanted
        else:
            same = isinstance(item, dict) and all(
                item.get(key, _default(schema, key)) == value for key, value in wanted.items()
            )
        if same:
            return item, index
    return None


def is_key(path: Path) -> bool:
    """Whether a path is that of a field by which a list item is known."""
    return (
        len(path) > 1
        and path[-2].startswith("k:")
        and path[-1][2:] in msgspec.json.decode(path[-2][2:])
    )
