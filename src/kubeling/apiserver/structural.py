"""Whether the schema of a CustomResourceDefinition is one that a server can work with.

A structural schema states the type of everything it speaks of, and says so outside of ``allOf``,
``anyOf``, ``oneOf`` and ``not``, which may only narrow. Pruning, defaulting and merging rely on it.
Source: ``ValidateStructural`` of the apiextensions server; as there, it is only asked where nothing
is wrong with what the schema is made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from kubeling.apiserver.constraints import compiled_pattern
from kubeling.apiserver.schemasyntax import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVE,
    Errors,
    below,
    forbidden,
    invalid,
    must_be,
    narrowing,
    syntax_errors,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["schema_errors"]

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
    found = list(syntax_errors(schema, path))
    if schema.get("nullable"):
        message = "nullable cannot be true at the root"
        found.append(FieldError(f"{path}.nullable", "Forbidden", message))
    found = found or sorted([*_node(schema, path, "root"), *_complete(schema, path)], key=str)
    yield from found or defaults(schema, path)


# Whether it is structural


def _node(node: Obj, path: str, level: str) -> Errors:
    kind, properties = node.get("type", ""), node.get("properties") or {}
    if kind == "array" and "items" not in node:
        yield FieldError(f"{path}.items", "Required value", "must be specified")
    if level == "root" and node.get("additionalProperties") is not None:
        yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
    for where, child, inner in below(node, path):
        yield from _node(child, where, inner)
    for flag in (PRESERVE, EMBEDDED):
        if node.get(INT_OR_STRING) and node.get(flag):
            yield invalid(f"{path}.{flag}", True, f"must be false if {INT_OR_STRING} is true")
    yield from _values(node, path, either=True)
    yield from _typed(node, path, level)
    if level == "root" or node.get(EMBEDDED):
        for name in ("kind", "apiVersion"):
            if (found := properties.get(name)) is not None and found.get("type") != "string":
                where = f"{path}.properties[{name}].type"
                yield invalid(where, found.get("type", ""), "must be string")
        yield from _metadata(properties.get("metadata"), f"{path}.properties[metadata]", level)
    if node.get(EMBEDDED) and not node.get(PRESERVE) and not properties:
        message = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        yield FieldError(f"{path}.properties", "Required value", message)


def _typed(node: Obj, path: str, level: str) -> Errors:
    kind = node.get("type", "")
    if node.get(EMBEDDED):
        yield from must_be(node, path, "object", f"must be object if {EMBEDDED} is true")
        if node.get("additionalProperties") is not None:
            message = f"must not be used if {EMBEDDED} is set"
            yield forbidden(f"{path}.additionalProperties", message)
    elif not kind and not node.get(INT_OR_STRING) and not node.get(PRESERVE):
        places = {"root": "at the root", "item": "for specified array items"}
        place = places.get(level, "for specified object fields")
        yield FieldError(f"{path}.type", "Required value", f"must not be empty {place}")
    if level == "root" and kind and kind != "object":
        yield invalid(f"{path}.type", kind, "must be object at the root")


def _metadata(node: Obj | None, path: str, level: str) -> Errors:
    if node is None:
        return
    if node.get("type") != "object":
        yield invalid(f"{path}.type", node.get("type", ""), "must be object")
    allowed = {"type", "description", "default"}
    named = set(node.get("properties") or ()) in _NAMES
    if level == "root" and node.keys() - (allowed | ({"properties"} if named else set())):
        message = (
            "must not specify anything other than name and generateName, but metadata is "
            "implicitly specified"
        )
        yield forbidden(path, message)


def _values(node: Obj, path: str, *, either: bool = False) -> Errors:
    """What narrows a node; ``either`` where a choice of integer and string may be the type."""
    pattern = node.get("pattern")
    if pattern and compiled_pattern(pattern) is None and not _beyond_python(pattern):
        message = "must be a valid regular expression, but isn't"
        yield invalid(f"{path}.pattern", pattern, message)
    for where, child in narrowing(node, path):
        if either and node.get("anyOf") == _EITHER and ".anyOf[" in where[len(path) :]:
            continue
        first = where == f"{path}.allOf[0]"
        yield from _narrow(child, where, either=either and first)


def _narrow(node: Obj, path: str, *, either: bool = False) -> Errors:
    yield from _values(node, path, either=either)
    for keyword, message in _EMPTY_BELOW.items():
        if node.get(keyword) not in (None, "", False, [], {}):
            yield forbidden(f"{path}.{keyword}", message)
    for name, child in (node.get("properties") or {}).items():
        if name == "metadata":
            message = "must not be specified in a nested context"
            yield forbidden(f"{path}.properties[{name}]", message)
        yield from _narrow(child, f"{path}.properties[{name}]")
    if isinstance(node.get("items"), dict):
        yield from _narrow(node["items"], f"{path}.items")


def _complete(node: Obj, path: str) -> Errors:
    """What junctors speak of that the structure does not have."""
    for where, child in narrowing(node, path):
        yield from _covered(child, node, path, where)


def _covered(node: Obj, structure: Obj | None, path: str, where: str) -> Errors:
    if structure is None:
        yield FieldError(path, "Required value", f"because it is defined in {where}")
        return
    for deeper, child in narrowing(node, where):
        yield from _covered(child, structure, path, deeper)
    if isinstance(node.get("items"), dict):
        items = structure.get("items")
        yield from _covered(node["items"], items, f"{path}.items", f"{where}.items")
    known = structure.get("properties") or {}
    for name, child in (node.get("properties") or {}).items():
        there, here = f"{path}.properties[{name}]", f"{where}.properties[{name}]"
        yield from _covered(child, known.get(name), there, here)


def _beyond_python(pattern: str) -> bool:
    """Whether a pattern that Python refuses uses what Go alone has: classes such as ``\\pL``."""
    return re.search(r"\\[pPQCz]|\[\[:|\(\?[a-zA-Z]*U|\(\?P?<", pattern) is not None
