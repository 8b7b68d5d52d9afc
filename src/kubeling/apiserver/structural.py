"""Whether the schema of a CustomResourceDefinition is one that a server can work with.

A structural schema states the type of everything it speaks of, and says so outside of ``allOf``,
``anyOf``, ``oneOf`` and ``not``, which may only narrow. Pruning, defaulting and merging rely on it.
Source: ``ValidateCustomResourceDefinitionOpenAPISchema`` and ``ValidateStructural`` of the
apiextensions server; as there, the second is only asked where the first finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from kubeling.apiserver.constraints import compiled_pattern
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["schema_errors"]

Errors = Iterator[FieldError]

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
EMBEDDED: Final = "x-kubernetes-embedded-resource"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED: Final = (
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
)
_JUNCTORS: Final = ("allOf", "anyOf", "oneOf")
_EITHER: Final = [{"type": "integer"}, {"type": "string"}]
_EMPTY_BELOW: Final = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    PRESERVE: "must be false to be structural",
    EMBEDDED: "must be false to be structural",
    INT_OR_STRING: "must be false to be structural",
    LIST_KEYS: "must be empty to be structural",
    LIST_TYPE: "must be undefined to be structural",
    MAP_TYPE: "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
"""What only the structure itself may say, and what is said where a junctor says it."""
_NAMES: Final = ({"name"}, {"generateName"}, {"name", "generateName"})


def schema_errors(schema: Obj, path: str, defaults: Callable[[Obj, str], Errors]) -> Errors:
    """What is wrong with a schema; ``defaults`` looks at the defaults of one that is structural."""
    found = list(_openapi(schema, path))
    if schema.get("nullable"):
        message = "nullable cannot be true at the root"
        found.append(FieldError(f"{path}.nullable", "Forbidden", message))
    found = found or sorted([*_node(schema, path, "root"), *_complete(schema, path)], key=str)
    yield from found or defaults(schema, path)


# What may be written at all


def _openapi(node: Obj, path: str) -> Errors:
    for keyword in _UNSUPPORTED:
        if node.get(keyword):
            yield _forbidden(f"{path}.{keyword}", f"{keyword} is not supported")
    kind = node.get("type")
    if kind == "null":
        message = "type cannot be set to null, use nullable as an alternative"
        yield _forbidden(f"{path}.type", message)
    elif kind and kind not in _TYPES:
        listed = ", ".join(f'"{one}"' for one in _TYPES)
        yield FieldError(f"{path}.type", "Unsupported value", f"supported values: {listed}", kind)
    if isinstance(node.get("items"), list):
        yield _forbidden(f"{path}.items", "items must be a schema object and not an array")
    if node.get("uniqueItems"):
        message = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield _forbidden(f"{path}.uniqueItems", message)
    extra = node.get("additionalProperties")
    if node.get("properties") and (extra is False or isinstance(extra, dict)):
        message = "additionalProperties and properties are mutual exclusive"
        yield _forbidden(f"{path}.additionalProperties", message)
    if node.get(PRESERVE) is False:
        yield _wrong(f"{path}.{PRESERVE}", False, "must be true or undefined")
    yield from _map_type(node, path)
    yield from _list_type(node, path)
    for where, child, _ in _below(node, path):
        yield from _openapi(child, where)
    for where, child in _narrowing(node, path):
        yield from _openapi(child, where)


def _map_type(node: Obj, path: str) -> Errors:
    given = node.get(MAP_TYPE)
    if given is None:
        return
    yield from _must_be(node, path, "object", f"must be object if {MAP_TYPE} is specified")
    if given not in ("atomic", "granular"):
        message = 'supported values: "atomic", "granular"'
        yield FieldError(f"{path}.{MAP_TYPE}", "Unsupported value", message, given)


def _list_type(node: Obj, path: str) -> Errors:
    given, keys = node.get(LIST_TYPE), node.get(LIST_KEYS) or ()
    items = node.get("items") if isinstance(node.get("items"), dict) else None
    if given is not None:
        yield from _must_be(node, path, "array", f"must be array if {LIST_TYPE} is specified")
    if given not in (None, "atomic", "set", "map"):
        message = 'supported values: "atomic", "set", "map"'
        yield FieldError(f"{path}.{LIST_TYPE}", "Unsupported value", message, given)
    if keys and given != "map":
        message = f"must be map if {LIST_KEYS} is non-empty"
        yield _missing_or_wrong(f"{path}.{LIST_TYPE}", given, message)
    if given == "set" and items is not None:
        yield from _set_items(items, f"{path}.items")
    if given == "map":
        yield from _keyed_items(items, keys, path)
    if given in ("set", "map") and items is not None and items.get("nullable"):
        yield _forbidden(
            f"{path}.items.nullable", f"cannot be nullable when {LIST_TYPE} is {given}"
        )


def _set_items(items: Obj, path: str) -> Errors:
    message = f"must be atomic as item of a list with {LIST_TYPE}=set"
    if items.get("type") == "array" and items.get(LIST_TYPE) not in (None, "atomic"):
        yield _wrong(f"{path}.{LIST_TYPE}", items[LIST_TYPE], message)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        yield _wrong(f"{path}.{MAP_TYPE}", items.get(MAP_TYPE), message)


def _keyed_items(items: Obj | None, keys: Any, path: str) -> Errors:
    if not keys:
        message = f"must not be empty if {LIST_TYPE} is map"
        yield FieldError(f"{path}.{LIST_KEYS}", "Required value", message)
    if items is None:
        message = f"must have a schema if {LIST_TYPE} is map"
        yield FieldError(f"{path}.items", "Required value", message)
        return
    if items.get("type") != "object":
        message = f"must be object if parent array's {LIST_TYPE} is map"
        yield _wrong(f"{path}.items.type", items.get("type", ""), message)
    properties, required = items.get("properties") or {}, items.get("required") or ()
    for index, key in enumerate(keys):
        where, found = f"{path}.items.properties[{key}]", properties.get(key)
        if key in keys[:index]:
            yield _wrong(f"{path}.{LIST_KEYS}", keys, "must not contain duplicate entries")
        if found is None:
            message = "entries must all be names of item properties"
            yield _wrong(f"{path}.{LIST_KEYS}", keys, message)
            continue
        if found.get("type") in ("array", "object"):
            message = f"must be a scalar type if parent array's {LIST_TYPE} is map"
            yield _wrong(f"{where}.type", found["type"], message)
        if key not in required and found.get("default") is None:
            message = (
                f"this property is in {LIST_KEYS}, so it must have a default or be a required "
                "property"
            )
            yield FieldError(f"{where}.default", "Required value", message)
        if found.get("nullable"):
            message = f"this property is in {LIST_KEYS}, so it cannot be nullable"
            yield _forbidden(f"{where}.nullable", message)


# Whether it is structural


def _node(node: Obj, path: str, level: str) -> Errors:
    kind, properties = node.get("type", ""), node.get("properties") or {}
    if kind == "array" and "items" not in node:
        yield FieldError(f"{path}.items", "Required value", "must be specified")
    if level == "root" and node.get("additionalProperties") is not None:
        yield _forbidden(f"{path}.additionalProperties", "must not be used at the root")
    for where, child, below in _below(node, path):
        yield from _node(child, where, below)
    for flag in (PRESERVE, EMBEDDED):
        if node.get(INT_OR_STRING) and node.get(flag):
            yield _wrong(f"{path}.{flag}", True, f"must be false if {INT_OR_STRING} is true")
    yield from _values(node, path, either=True)
    yield from _typed(node, path, level)
    if level == "root" or node.get(EMBEDDED):
        for name in ("kind", "apiVersion"):
            if (found := properties.get(name)) is not None and found.get("type") != "string":
                where = f"{path}.properties[{name}].type"
                yield _wrong(where, found.get("type", ""), "must be string")
        yield from _metadata(properties.get("metadata"), f"{path}.properties[metadata]", level)
    if node.get(EMBEDDED) and not node.get(PRESERVE) and not properties:
        message = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        yield FieldError(f"{path}.properties", "Required value", message)


def _typed(node: Obj, path: str, level: str) -> Errors:
    kind = node.get("type", "")
    if node.get(EMBEDDED):
        yield from _must_be(node, path, "object", f"must be object if {EMBEDDED} is true")
        if node.get("additionalProperties") is not None:
            message = f"must not be used if {EMBEDDED} is set"
            yield _forbidden(f"{path}.additionalProperties", message)
    elif not kind and not node.get(INT_OR_STRING) and not node.get(PRESERVE):
        places = {"root": "at the root", "item": "for specified array items"}
        place = places.get(level, "for specified object fields")
        yield FieldError(f"{path}.type", "Required value", f"must not be empty {place}")
    if level == "root" and kind and kind != "object":
        yield _wrong(f"{path}.type", kind, "must be object at the root")


def _metadata(node: Obj | None, path: str, level: str) -> Errors:
    if node is None:
        return
    if node.get("type") != "object":
        yield _wrong(f"{path}.type", node.get("type", ""), "must be object")
    allowed = {"type", "description", "default"}
    named = set(node.get("properties") or ()) in _NAMES
    if level == "root" and node.keys() - (allowed | ({"properties"} if named else set())):
        message = (
            "must not specify anything other than name and generateName, but metadata is "
            "implicitly specified"
        )
        yield _forbidden(path, message)


def _values(node: Obj, path: str, *, either: bool = False) -> Errors:
    """What narrows a node; ``either`` where a choice of integer and string may be the type."""
    pattern = node.get("pattern")
    if pattern and compiled_pattern(pattern) is None and not _beyond_python(pattern):
        message = "must be a valid regular expression, but isn't"
        yield _wrong(f"{path}.pattern", pattern, message)
    for where, child in _narrowing(node, path):
        if either and node.get("anyOf") == _EITHER and ".anyOf[" in where[len(path) :]:
            continue
        first = where == f"{path}.allOf[0]"
        yield from _narrow(child, where, either=either and first)


def _narrow(node: Obj, path: str, *, either: bool = False) -> Errors:
    yield from _values(node, path, either=either)
    for keyword, message in _EMPTY_BELOW.items():
        if node.get(keyword) not in (None, "", False, [], {}):
            yield _forbidden(f"{path}.{keyword}", message)
    for name, child in (node.get("properties") or {}).items():
        if name == "metadata":
            message = "must not be specified in a nested context"
            yield _forbidden(f"{path}.properties[{name}]", message)
        yield from _narrow(child, f"{path}.properties[{name}]")
    if isinstance(node.get("items"), dict):
        yield from _narrow(node["items"], f"{path}.items")


def _complete(node: Obj, path: str) -> Errors:
    """What junctors speak of that the structure does not have."""
    for where, child in _narrowing(node, path):
        yield from _covered(child, node, path, where)


def _covered(node: Obj, structure: Obj | None, path: str, where: str) -> Errors:
    if structure is None:
        yield FieldError(path, "Required value", f"because it is defined in {where}")
        return
    for below, child in _narrowing(node, where):
        yield from _covered(child, structure, path, below)
    if isinstance(node.get("items"), dict):
        items = structure.get("items")
        yield from _covered(node["items"], items, f"{path}.items", f"{where}.items")
    known = structure.get("properties") or {}
    for name, child in (node.get("properties") or {}).items():
        there, here = f"{path}.properties[{name}]", f"{where}.properties[{name}]"
        yield from _covered(child, known.get(name), there, here)


# Walking


def _below(node: Obj, path: str) -> Iterator[tuple[str, Obj, str]]:
    """The nodes of what is inside a value, with their paths and levels."""
    for name, child in (node.get("properties") or {}).items():
        yield f"{path}.properties[{name}]", child, "field"
    for keyword, level in (("items", "item"), ("additionalProperties", "field")):
        if isinstance(node.get(keyword), dict):
            yield f"{path}.{keyword}", node[keyword], level


def _narrowing(node: Obj, path: str) -> Iterator[tuple[str, Obj]]:
    """The nodes that say more about the same value, with their paths."""
    for keyword in _JUNCTORS:
        for index, child in enumerate(node.get(keyword) or ()):
            yield f"{path}.{keyword}[{index}]", child
    if isinstance(node.get("not"), dict):
        yield f"{path}.not", node["not"]


def _beyond_python(pattern: str) -> bool:
    """Whether a pattern that Python refuses uses what Go alone has: classes such as ``\\pL``."""
    return re.search(r"\\[pPQCz]|\[\[:|\(\?[a-zA-Z]*U|\(\?P?<", pattern) is not None


def _must_be(node: Obj, path: str, kind: str, message: str) -> Errors:
    if node.get("type") != kind:
        yield _missing_or_wrong(f"{path}.type", node.get("type"), message)


def _missing_or_wrong(path: str, value: Any, message: str) -> FieldError:
    return _wrong(path, value, message) if value else FieldError(path, "Required value", message)


def _wrong(path: str, value: Any, message: str) -> FieldError:
    return FieldError(path, "Invalid value", message, value)


def _forbidden(path: str, message: str) -> FieldError:
    return FieldError(path, "Forbidden", message)
