"""How an expression sees the objects of a schema: the type of a node, and its values.

The types follow Kubernetes (apiserver ``common/schemas.go``): what a schema does not describe
cannot be reached, int-or-string is dynamic, dates and durations are values of their own. JSON has
fewer types than that, so values are adapted where the schema asks for it; most schemas never do,
and then objects are used as they are.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.functions.conversions import parse_duration, parse_timestamp
from kubeling.apiserver.cel.types import (
    ANY,
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Field,
    ObjectType,
    Type,
    list_of,
    map_of,
)
from kubeling.apiserver.cel.values import KeyedList, SetList
from kubeling.kube.objects import Obj

__all__ = ["Adapt", "Typing", "adapter", "escaped"]

Adapt = Callable[[Any], Any]
"""Gives a value as expressions see it; does not change what it is given."""

EMBEDDED: Final = "x-kubernetes-embedded-resource"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"

_TEXT: Final = {
    "byte": BYTES,
    "date": TIMESTAMP,
    "date-time": TIMESTAMP,
    "duration": DURATION,
}
_SCALARS: Final = {"boolean": BOOL, "integer": INT, "number": DOUBLE}
_ENVELOPE: Final[Obj] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
    },
}


class Typing:
    """The types of one schema; a node has the same type wherever it is met."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Obj, Type | None]] = {}

    def of(self, node: Obj, *, root: bool = False) -> Type | None:
        """The type of a node, or ``None`` where expressions cannot see it."""
        if id(node) not in self._known:
            self._known[id(node)] = node, self._make(node, root or bool(node.get(EMBEDDED)))
        return self._known[id(node)][1]

    def _make(self, node: Obj, resource: bool) -> Type | None:
        if node.get(INT_OR_STRING):
            return ANY
        match node.get("type"):
            case "array":
                item = node.get("items")
                inner = self.of(item) if isinstance(item, dict) else None
                return list_of(inner) if inner is not None else None
            case "object":
                return self._object(node, resource)
            case "string":
                return _TEXT.get(node.get("format", ""), STRING)
            case str(name):
                return _SCALARS.get(name)
        return self._object(node, resource) if resource else None

    def _object(self, node: Obj, resource: bool) -> Type | None:
        additional = node.get("additionalProperties")
        if isinstance(additional, dict):
            inner = self.of(additional)
            return map_of(STRING, inner) if inner is not None else None
        properties = dict(node.get("properties") or {})
        if resource:
            properties |= _ENVELOPE
        return ObjectType("object", lambda: self._fields(properties))

    def _fields(self, properties: Mapping[str, Obj]) -> dict[str, Field]:
        fields = {}
        for name, node in properties.items():
            if (found := self.of(node)) is not None:
                fields[escaped(name)] = Field(name, found)
        # The one reserved word that rules use for a field as it is, and may.
        if "__namespace__" in fields:
            fields["namespace"] = fields["__namespace__"]
        return fields


_RESERVED: Final = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_MARKS: Final = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))


def escaped(name: str) -> str:
    """The name by which an expression reaches a field."""
    if name in _RESERVED:
        return f"__{name}__"
    for mark, word in _MARKS:
        name = name.replace(mark, word)
    return name


# Values


def adapter(node: Obj) -> Adapt | None:
    """What adapts the values of a node; ``None`` where they are right as they are."""
    if node.get(INT_OR_STRING):
        return None
    match node.get("type"):
        case "string":
            return _FORMATS.get(node.get("format", ""))
        case "number":
            return lambda value: float(value) if isinstance(value, int) else value
        case "integer":
            return lambda value: int(value) if isinstance(value, float) else value
        case "array":
            return _list_adapter(node)
        case "object":
            return _object_adapter(node)
    return None


def _object_adapter(node: Obj) -> Adapt | None:
    additional = node.get("additionalProperties")
    if isinstance(additional, dict):
        each = adapter(additional)
        if each is None:
            return None
        return _if_kind(dict, lambda value: {key: each(inner) for key, inner in value.items()})
    parts = {
        name: adapt
        for name, child in (node.get("properties") or {}).items()
        if (adapt := adapter(child)) is not None
    }
    if not parts:
        return None

    def adapt_some(value: Any) -> Any:
        changed = {
            name: found
            for name, adapt in parts.items()
            if name in value and (found := adapt(value[name])) is not value[name]
        }
        return {**value, **changed} if changed else value

    return _if_kind(dict, adapt_some)


def _list_adapter(node: Obj) -> Adapt | None:
    item = node.get("items")
    each = adapter(item) if isinstance(item, dict) else None
    kind = node.get("x-kubernetes-list-type")
    keys = tuple(node.get("x-kubernetes-list-map-keys") or ())
    if each is None and kind not in ("set", "map"):
        return None

    def adapt(value: Any) -> Any:
        items = value if each is None else [each(inner) for inner in value]
        if kind == "set":
            return SetList(items)
        return KeyedList(items, keys) if kind == "map" else items

    return _if_kind(list, adapt)


def _if_kind(kind: type, adapt: Adapt) -> Adapt:
    return lambda value: adapt(value) if isinstance(value, kind) else value


def _parsed(parse: Callable[[str], Any]) -> Adapt:
    """Text that does not fit its format stays text: a rule that reads it fails, others do not."""

    def adapt(value: Any) -> Any:
        try:
            return parse(value)
        except (EvalError, ValueError, TypeError):
            return value

    return adapt


def _date(text: str) -> Any:
    return parse_timestamp(text if "T" in text.upper() else f"{text}T00:00:00Z")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


_FORMATS: Final[dict[str, Adapt]] = {
    "byte": _parsed(_bytes),
    "date": _parsed(_date),
    "date-time": _parsed(parse_timestamp),
    "duration": _parsed(parse_duration),
}
