"""What a schema in a CustomResourceDefinition may be made of: keywords, their types, list types.

Source: ``ValidateCustomResourceDefinitionOpenAPISchema`` of the apiextensions server. What stands
below ``items`` is any JSON to the type of a definition, so types are asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = [
    "EMBEDDED",
    "INT_OR_STRING",
    "JUNCTORS",
    "LIST_KEYS",
    "LIST_TYPE",
    "MAP_TYPE",
    "PRESERVE",
    "Errors",
    "below",
    "forbidden",
    "invalid",
    "must_be",
    "narrowing",
    "syntax_errors",
]

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
JUNCTORS: Final = ("allOf", "anyOf", "oneOf")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_SHAPES: Final[dict[str, Callable[[Any], bool]]] = {
    "properties": lambda value: isinstance(value, dict),
    "items": lambda value: isinstance(value, dict | list),
    "additionalProperties": lambda value: isinstance(value, dict | bool),
    "not": lambda value: isinstance(value, dict),
    **dict.fromkeys(JUNCTORS, lambda value: isinstance(value, list)),
    **dict.fromkeys(("type", "pattern", "format", LIST_TYPE, MAP_TYPE), _is_text),
    **dict.fromkeys(("required", LIST_KEYS), _are_texts),
    **dict.fromkeys(("enum", "x-kubernetes-validations"), lambda value: isinstance(value, list)),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _is_number),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        _is_number,
    ),
}
"""What the keywords hold that are read here and when objects are checked."""


def syntax_errors(schema: Obj, path: str) -> Errors:
    """What cannot be part of any schema."""
    found = list(_malformed(schema, path))
    yield from found or _openapi(schema, path)


def _malformed(node: Any, path: str) -> Errors:
    """What is of another type than a schema has there; below ``items`` no type has been asked."""
    if not isinstance(node, dict):
        yield invalid(path, node, "must be a schema object")
        return
    for keyword, fits in _SHAPES.items():
        if node.get(keyword) is not None and not fits(node[keyword]):
            yield invalid(f"{path}.{keyword}", node[keyword], "has another type in a schema")
            return
    for name, child in (node.get("properties") or {}).items():
        yield from _malformed(child, f"{path}.properties[{name}]")
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(node.get(keyword), dict):
            yield from _malformed(node[keyword], f"{path}.{keyword}")
    for keyword in JUNCTORS:
        for index, child in enumerate(node.get(keyword) or ()):
            yield from _malformed(child, f"{path}.{keyword}[{index}]")


def _openapi(node: Obj, path: str) -> Errors:
    for keyword in _UNSUPPORTED:
        if node.get(keyword):
            yield forbidden(f"{path}.{keyword}", f"{keyword} is not supported")
    kind = node.get("type")
    if kind == "null":
        message = "type cannot be set to null, use nullable as an alternative"
        yield forbidden(f"{path}.type", message)
    elif kind and kind not in _TYPES:
        listed = ", ".join(f'"{one}"' for one in _TYPES)
        yield FieldError(f"{path}.type", "Unsupported value", f"supported values: {listed}", kind)
    if isinstance(node.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if node.get("uniqueItems"):
        message = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", message)
    extra = node.get("additionalProperties")
    if node.get("properties") and (extra is False or isinstance(extra, dict)):
        message = "additionalProperties and properties are mutual exclusive"
        yield forbidden(f"{path}.additionalProperties", message)
    if node.get(PRESERVE) is False:
        yield invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")
    yield from _map_type(node, path)
    yield from _list_type(node, path)
    for where, child, _ in below(node, path):
        yield from _openapi(child, where)
    for where, child in narrowing(node, path):
        yield from _openapi(child, where)


def _map_type(node: Obj, path: str) -> Errors:
    given = node.get(MAP_TYPE)
    if given is None:
        return
    yield from must_be(node, path, "object", f"must be object if {MAP_TYPE} is specified")
    if given not in ("atomic", "granular"):
        message = 'supported values: "atomic", "granular"'
        yield FieldError(f"{path}.{MAP_TYPE}", "Unsupported value", message, given)


def _list_type(node: Obj, path: str) -> Errors:
    given, keys = node.get(LIST_TYPE), node.get(LIST_KEYS) or ()
    items = node.get("items") if isinstance(node.get("items"), dict) else None
    if given is not None:
        yield from must_be(node, path, "array", f"must be array if {LIST_TYPE} is specified")
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
        yield forbidden(f"{path}.items.nullable", f"cannot be nullable when {LIST_TYPE} is {given}")


def _set_items(items: Obj, path: str) -> Errors:
    message = f"must be atomic as item of a list with {LIST_TYPE}=set"
    if items.get("type") == "array" and items.get(LIST_TYPE) not in (None, "atomic"):
        yield invalid(f"{path}.{LIST_TYPE}", items[LIST_TYPE], message)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        yield invalid(f"{path}.{MAP_TYPE}", items.get(MAP_TYPE), message)


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
        yield invalid(f"{path}.items.type", items.get("type", ""), message)
    properties, required = items.get("properties") or {}, items.get("required") or ()
    for index, key in enumerate(keys):
        where, found = f"{path}.items.properties[{key}]", properties.get(key)
        if key in keys[:index]:
            yield invalid(f"{path}.{LIST_KEYS}", keys, "must not contain duplicate entries")
        if found is None:
            message = "entries must all be names of item properties"
            yield invalid(f"{path}.{LIST_KEYS}", keys, message)
            continue
        if found.get("type") in ("array", "object"):
            message = f"must be a scalar type if parent array's {LIST_TYPE} is map"
            yield invalid(f"{where}.type", found["type"], message)
        if key not in required and found.get("default") is None:
            message = (
                f"this property is in {LIST_KEYS}, so it must have a default or be a required "
                "property"
            )
            yield FieldError(f"{where}.default", "Required value", message)
        if found.get("nullable"):
            message = f"this property is in {LIST_KEYS}, so it cannot be nullable"
            yield forbidden(f"{where}.nullable", message)


# Walking


def below(node: Obj, path: str) -> Iterator[tuple[str, Obj, str]]:
    """The nodes of what is inside a value, with their paths and levels."""
    for name, child in (node.get("properties") or {}).items():
        yield f"{path}.properties[{name}]", child, "field"
    for keyword, level in (("items", "item"), ("additionalProperties", "field")):
        if isinstance(node.get(keyword), dict):
            yield f"{path}.{keyword}", node[keyword], level


def narrowing(node: Obj, path: str) -> Iterator[tuple[str, Obj]]:
    """The nodes that say more about the same value, with their paths."""
    for keyword in JUNCTORS:
        for index, child in enumerate(node.get(keyword) or ()):
            yield f"{path}.{keyword}[{index}]", child
    if isinstance(node.get("not"), dict):
        yield f"{path}.not", node["not"]


# What is said


def must_be(node: Obj, path: str, kind: str, message: str) -> Errors:
    if node.get("type") != kind:
        yield _missing_or_wrong(f"{path}.type", node.get("type"), message)


def _missing_or_wrong(path: str, value: Any, message: str) -> FieldError:
    return invalid(path, value, message) if value else FieldError(path, "Required value", message)


def invalid(path: str, value: Any, message: str) -> FieldError:
    return FieldError(path, "Invalid value", message, value)


def forbidden(path: str, message: str) -> FieldError:
    return FieldError(path, "Forbidden", message)
