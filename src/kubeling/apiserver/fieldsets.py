"""Sets of fields: which parts of an object someone states, and how FieldsV1 spells them.

A path is a tuple of elements: ``f:name`` (a field), ``k:{…}`` (a list item by its keys) or ``v:…``
(an item of a set), the spelling FieldsV1 uses. Applying reasons about single paths; every other
write makes do with whole trees (:mod:`~kubeling.apiserver.fieldtrees`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kubeling.apiserver.fieldtrees import key_default, stated_fields
from kubeling.apiserver.schema import Schema
from kubeling.kube.objects import Obj

__all__ = [
    "MISSING",
    "FieldSet",
    "Path",
    "decode_fields",
    "encode_fields",
    "field_set",
    "find_item",
    "is_field_set",
    "is_key",
    "owns",
    "value_at",
]

Path = tuple[str, ...]
FieldSet = frozenset[Path]

MISSING: Final = object()
"""Where there is no value: like nothing else."""
_PRESENT: Final = object()


def field_set(obj: Obj, schema: Schema | None) -> FieldSet:
    """The leaves, and the items of keyed lists, that an object states."""
    return decode_fields(stated_fields(obj, schema))


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
                item.get(key, key_default(schema, key)) == value for key, value in wanted.items()
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
