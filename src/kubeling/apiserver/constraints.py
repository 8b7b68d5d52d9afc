"""What a schema node demands of a value of the right type: bounds, patterns, formats, uniqueness.

Each function looks at one node and one value, not below it. The wording is that of Kubernetes'
validation, which took it from go-openapi. What only tells whether there is anything to say comes
as predicates, made once for a node, because almost every value is as it should be.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import re
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = [
    "Predicate",
    "compiled_pattern",
    "limit_errors",
    "list_bounds",
    "list_errors",
    "object_bounds",
    "object_errors",
    "quantity_error",
    "value_limits",
]

_LIMITS: Final = frozenset(
    {"enum", "minLength", "maxLength", "pattern", "minimum", "maximum", "multipleOf", "format"}
)
"""The keywords that limit a scalar."""

_QUANTITY: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?")
_QUANTITY_TEXT: Final = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_SIZES: Final = {"int32": 2**31, "int64": 2**63}

Errors = Iterator[FieldError]
Predicate = Callable[[Any], bool]
"""Whether a value of the right type is as it should be."""


def value_limits(node: Obj) -> Predicate | None:
    """What limits a node's scalars; ``None`` where nothing does."""
    limits = _LIMITS & node.keys()
    if limits != {"format"}:
        return (lambda value: not any(limit_errors(node, value, ""))) if limits else None
    if (size := _SIZES.get(node["format"])) is not None:
        return lambda value: type(value) is not int or -size <= value < size
    if (fits := _FORMATS.get(node["format"])) is not None:
        return lambda value: not isinstance(value, str) or _accepts(fits, value)
    return None


def object_bounds(node: Obj) -> Predicate | None:
    """What a node demands of an object as a whole; ``None`` where that is nothing."""
    if "minProperties" in node or "maxProperties" in node:
        return lambda value: not any(object_errors(node, value, ""))
    required = frozenset(node.get("required") or ()).union(_identity(node))
    return (lambda value: required <= value.keys()) if required else None


def _identity(node: Obj) -> tuple[str, ...]:
    """What an object within an object has to say of itself."""
    return ("apiVersion", "kind") if node.get("x-kubernetes-embedded-resource") else ()


def list_bounds(node: Obj) -> Predicate | None:
    """What a node demands of a list as a whole; ``None`` where that is nothing."""
    if "minItems" in node or "maxItems" in node or _refuses_duplicates(node):
        return lambda value: not any(list_errors(node, value, ""))
    return None


def limit_errors(node: Obj, value: Any, path: str) -> Errors:
    """What is wrong with a scalar, or with any value that has few choices."""
    if "enum" in node and value not in node["enum"]:
        listed = ", ".join(f'"{choice}"' for choice in node["enum"])
        yield FieldError(path, "Unsupported value", f"supported values: {listed}", value)
    if isinstance(value, str):
        yield from _text_errors(node, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_errors(node, value, path)


def _wrong(path: str, what: str, value: Any) -> FieldError:
    return FieldError(path, "Invalid value", f"{path or '<root>'} in body {what}", value)


def _text_errors(node: Obj, value: str, path: str) -> Errors:
    if len(value) < node.get("minLength", 0):
        yield _wrong(path, f"should be at least {node['minLength']} chars long", value)
    if "maxLength" in node and len(value) > node["maxLength"]:
        yield FieldError(path, "Too long", f"may not be more than {node['maxLength']} bytes")
    if "pattern" in node and not _matches(node["pattern"], value):
        yield _wrong(path, f"should match '{node['pattern']}'", value)
    yield from _format_errors(node.get("format", ""), value, path)


def _format_errors(name: str, value: str, path: str) -> Errors:
    fits = _FORMATS.get(name)
    if fits is None or _accepts(fits, value):
        return
    if name == "byte":
        # Bytes may be a secret, so they are not repeated.
        message = f"{path} in body must be of type byte: it is not base64"
        yield FieldError(path, "Invalid value", message)
    else:
        yield _wrong(path, f'must be of type {name}: "{value}"', value)


def _number_errors(node: Obj, value: float, path: str) -> Errors:
    low, high, step = node.get("minimum"), node.get("maximum"), node.get("multipleOf")
    if low is not None and (value < low or (node.get("exclusiveMinimum") and value == low)):
        or_equal = "" if node.get("exclusiveMinimum") else " or equal to"
        yield _wrong(path, f"should be greater than{or_equal} {low}", value)
    if high is not None and (value > high or (node.get("exclusiveMaximum") and value == high)):
        or_equal = "" if node.get("exclusiveMaximum") else " or equal to"
        yield _wrong(path, f"should be less than{or_equal} {high}", value)
    if step and value % step:
        yield _wrong(path, f"should be a multiple of {step}", value)
    size = _SIZES.get(node.get("format", ""))
    if size is not None and not -size <= value < size:
        yield _wrong(path, f"must be of type integer with format {node['format']}", value)


def object_errors(node: Obj, value: Obj, path: str) -> Errors:
    """What is wrong with an object as a whole."""
    for name in node.get("required") or ():
        if name not in value:
            yield FieldError(f"{path}.{name}" if path else name, "Required value", "")
    for name in _identity(node):
        if not value.get(name):
            yield FieldError(f"{path}.{name}", "Required value", "must not be empty")
    if len(value) < node.get("minProperties", 0):
        least = node["minProperties"]
        yield _wrong(path, f"should have at least {least} properties", len(value))
    if "maxProperties" in node and len(value) > node["maxProperties"]:
        message = f"must have at most {node['maxProperties']} items"
        yield FieldError(path, "Too many", message, len(value))


def list_errors(node: Obj, value: list[Any], path: str) -> Errors:
    """What is wrong with a list as a whole."""
    if len(value) < node.get("minItems", 0):
        yield _wrong(path, f"should have at least {node['minItems']} items", len(value))
    if "maxItems" in node and len(value) > node["maxItems"]:
        message = f"must have at most {node['maxItems']} items"
        yield FieldError(path, "Too many", message, len(value))
    yield from _duplicates(node, value, path)


def _refuses_duplicates(node: Obj) -> bool:
    # Built-in kinds say by themselves which duplicates they refuse.
    return (
        node.get("x-kubernetes-list-type") in ("set", "map")
        and "x-kubernetes-patch-strategy" not in node
    )


def _duplicates(node: Obj, value: list[Any], path: str) -> Errors:
    if not _refuses_duplicates(node):
        return
    kind = node["x-kubernetes-list-type"]
    keys = node.get("x-kubernetes-list-map-keys") or ()
    seen: list[Any] = []
    for index, item in enumerate(value):
        mark = item
        if kind == "map":
            if not isinstance(item, dict):
                continue
            mark = {key: item.get(key) for key in keys}
        if mark in seen:
            yield FieldError(f"{path}[{index}]", "Duplicate value", "", mark)
        seen.append(mark)


def quantity_error(value: Any, path: str) -> FieldError | None:
    """What is wrong with an amount such as ``100m`` or ``2Gi``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return None
    message = f"quantities must match the regular expression '{_QUANTITY_TEXT}'"
    return FieldError(path, "Invalid value", message, value)


# Patterns


def _matches(pattern: str, value: str) -> bool:
    compiled = compiled_pattern(pattern)
    return compiled is None or compiled.search(value) is not None


@cache
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    r"""A Go pattern in Python's words; ``None`` for what Python cannot say (``\pL``).

    The two differ at the end: ``$`` is the end of the text in Go, and ``\z`` its other name.
    """
    words, in_class, at = [], False, 0
    while at < len(pattern):
        word = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        at += len(word)
        if word == "[":
            in_class = True
        elif word == "]":
            in_class = False
        words.append(r"\Z" if word == r"\z" or (word == "$" and not in_class) else word)
    try:
        return re.compile("".join(words))
    except re.error:
        return None


# Formats


def _accepts(fits: Callable[[str], Any], value: str) -> bool:
    try:
        return fits(value) is not None
    except ValueError:
        return False


def _base64(value: str) -> bytes:
    return base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)


def _uri(value: str) -> str | None:
    found = urlsplit(value)
    return value if found.scheme or found.path.startswith("/") else None


def _date_time(value: str) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value) if "T" in value.upper() else None


_FORMATS: Final[dict[str, Callable[[str], Any]]] = {
    "byte": _base64,
    "cidr": lambda value: ipaddress.ip_network(value, strict=False) if "/" in value else None,
    "date": dt.date.fromisoformat,
    "date-time": _date_time,
    "email": _EMAIL.fullmatch,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uri": _uri,
    "uuid": uuid.UUID,
}
"""Formats that are checked, as by upstream; all others are only documentation."""
