"""FieldsV1 as it is kept: a tree in which every end, and every node with a ``.``, is owned.

Every write notes who owns what, so what an object states, how two states differ, and the sums and
differences of such trees are found without spelling out single paths: the cost is that of the
change, not of the object. Trees are never changed in place, so they share what they have in common.
"""

from __future__ import annotations

from sys import intern
from typing import Any, Final

import msgspec

from kubeling.apiserver.schema import Schema
from kubeling.kube.objects import Obj

__all__ = [
    "changed_fields",
    "element_of",
    "key_default",
    "stated_fields",
    "with_fields",
    "without_fields",
]

_encode: Final = msgspec.json.Encoder(order="sorted").encode
_LEAF: Final[Obj] = {}
"""The end of a path; one for all."""
_NESTED: Final = (dict, list)
_UNOWNED: Final = ("apiVersion", "kind")
_UNOWNED_METADATA: Final = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields",
    "generateName",
)  # fmt: skip


# What objects state


def stated_fields(obj: Obj, schema: Schema | None) -> Obj:
    """What an object states, but for what belongs to the server."""
    tree = {
        intern("f:" + name): _subtree(value, _child(schema, name))
        for name, value in obj.items()
        if name not in _UNOWNED and name != "metadata"
    }
    if metadata := _ownable(obj):
        tree["f:metadata"] = _subtree(metadata, _child(schema, "metadata"))
    return tree


def changed_fields(old: Obj, new: Obj, schema: Schema | None) -> tuple[Obj, Obj]:
    """What is new or has a new value, and what is gone."""
    changed, gone = _compared_maps(
        {name: value for name, value in old.items() if name not in _UNOWNED and name != "metadata"},
        {name: value for name, value in new.items() if name not in _UNOWNED and name != "metadata"},
        schema,
    )
    below = _compared_maps(_ownable(old), _ownable(new), _child(schema, "metadata"))
    for tree, metadata in zip((changed, gone), below, strict=True):
        if metadata:
            tree["f:metadata"] = metadata
    return changed, gone


def _ownable(obj: Obj) -> Obj:
    """The metadata that has owners."""
    metadata = obj.get("metadata") or {}
    return {name: value for name, value in metadata.items() if name not in _UNOWNED_METADATA}


def _subtree(value: Any, schema: Schema | None) -> Obj:
    if _is_open_map(value, schema):
        tree: Obj = {}
        for name, inner in value.items():
            # Field names are few and everywhere, so all objects share them.
            element = intern("f:" + name)
            if isinstance(inner, _NESTED):
                tree[element] = _subtree(inner, _child(schema, name))
            else:
                tree[element] = _LEAF
        return tree
    if schema is not None and _is_keyed(value, schema):
        found = ((element_of(item, schema), item) for item in value)
        return {element: _item(element, item, schema) for element, item in found if element}
    return _LEAF


def _item(element: str, item: Any, schema: Schema) -> Obj:
    """An item of a keyed list is owned itself, and so are its fields."""
    if not isinstance(item, dict):
        return _LEAF
    below = _subtree(item, schema.items)
    return {".": _LEAF, **below} if element.startswith("k:") else below


# How two states differ; ``None`` says that they do not


def _compared(old: Any, new: Any, schema: Schema | None) -> tuple[Obj | None, Obj | None]:
    if old == new:
        return None, None
    if _is_open_map(old, schema) and _is_open_map(new, schema):
        changed, gone = _compared_maps(old, new, schema)
    elif schema is not None and _is_keyed(old, schema) and _is_keyed(new, schema):
        changed, gone = _compared_items(old, new, schema)
    else:
        before, after = _subtree(old, schema), _subtree(new, schema)
        return after, None if before == after else before
    return changed or None, gone or None


def _compared_maps(old: Obj, new: Obj, schema: Schema | None) -> tuple[Obj, Obj]:
    changed: Obj = {}
    gone: Obj = {}
    for name, value in new.items():
        if name not in old:
            changed[intern("f:" + name)] = _subtree(value, _child(schema, name))
        elif (before := old[name]) is not value and before != value:
            _note(
                intern("f:" + name), _compared(before, value, _child(schema, name)), changed, gone
            )
    for name in old.keys() - new.keys():
        gone[intern("f:" + name)] = _subtree(old[name], _child(schema, name))
    return changed, gone


def _compared_items(old: list[Any], new: list[Any], schema: Schema) -> tuple[Obj, Obj]:
    changed: Obj = {}
    gone: Obj = {}
    before = {element_of(item, schema): item for item in old}
    after = {element_of(item, schema): item for item in new}
    for element, item in after.items():
        if element and element not in before:
            changed[element] = _item(element, item, schema)
        elif element:
            _note(element, _compared(before[element], item, schema.items), changed, gone)
    for element, item in before.items():
        if element and element not in after:
            gone[element] = _item(element, item, schema)
    return changed, gone


def _note(element: str, found: tuple[Obj | None, Obj | None], changed: Obj, gone: Obj) -> None:
    for below, tree in zip(found, (changed, gone), strict=True):
        if below is not None:
            tree[element] = below


# Sums and differences of trees


def with_fields(fields: Obj, more: Obj) -> Obj:
    """What either tree names."""
    result = dict(fields)
    for element, below in more.items():
        known = result.get(element)
        if known is None:
            result[element] = below
        elif below:
            # An item that is an end is named itself, which must be said once it is none.
            named = known or ({".": _LEAF} if element.startswith("k:") else known)
            result[element] = with_fields(named, below)
    return result


def without_fields(fields: Obj, lost: Obj) -> Obj:
    """What the first tree names and the second does not; ``fields`` itself if that is all."""
    result = fields
    for element, below in lost.items():
        node = None if element == "." else fields.get(element)
        if node is None:
            continue
        left = _less(node, below)
        if left is node:
            continue
        if result is fields:
            result = dict(fields)
        if left is None:
            del result[element]
        else:
            result[element] = left
    return result


def _less(node: Obj, lost: Obj) -> Obj | None:
    """What is left of a node, which is none where there are neither it nor ends below it."""
    itself = not lost or "." in lost
    if not node:
        return None if itself else node
    kept = without_fields(node, lost)
    if itself and "." in kept:
        kept = {element: below for element, below in kept.items() if element != "."}
    return kept or None


# How values are named


def element_of(item: Any, schema: Schema) -> str | None:
    """How paths name an item of a keyed list."""
    if schema.list_type == "set":
        return "v:" + _text(item)
    if not isinstance(item, dict):
        return None
    keys = {}
    for key in schema.list_keys:
        value = item.get(key, key_default(schema, key))
        if value is not None:
            keys[key] = value
    return "k:" + _text(keys) if keys else None


def key_default(schema: Schema | None, key: str) -> Any:
    """What a key of an item is that does not say."""
    return schema.items.default_of(key) if schema is not None and schema.items else None


def _text(value: Any) -> str:
    return _encode(value).decode()


def _child(schema: Schema | None, name: str) -> Schema | None:
    return schema.child(name) if schema is not None else None


def _is_open_map(value: Any, schema: Schema | None) -> bool:
    return isinstance(value, dict) and bool(value) and not (schema is not None and schema.atomic)


def _is_keyed(value: Any, schema: Schema) -> bool:
    return isinstance(value, list) and bool(value) and schema.list_type in ("map", "set")
