"""OpenAPI v2 in protobuf, which is the only form that kubectl reads it in.

It does so to check a ``List`` before it sends the items, because the server can only check those
one by one. The messages are those of `gnostic`_: field numbers by name, and a value of any shape
as text in YAML, of which JSON is a part.

.. _gnostic: https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj

__all__ = ["ACCEPTED", "MEDIA_TYPE", "encode_document"]

ACCEPTED: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
MEDIA_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_Encode = Callable[[int, Any], bytes]


def encode_document(document: Obj) -> bytes:
    """A document of v2, its paths and definitions, as a ``Document``."""
    info = document["info"]
    paths = (_named(2, path, _path_item(item)) for path, item in document["paths"].items())
    return b"".join(
        [
            _text(1, document["swagger"]),
            _message(2, _text(1, info["title"]) + _text(2, info["version"])),
            _message(8, b"".join(paths)),
            _message(9, _schemas(document["definitions"])),
        ]
    )


def _schema(node: Mapping[str, Any]) -> bytes:
    parts = [encode(number, node[key]) for key, (number, encode) in _SCHEMA.items() if key in node]
    return b"".join([*parts, _extensions(31, node)])


def _schemas(nodes: Mapping[str, Any]) -> bytes:
    return b"".join(_named(1, name, _schema(node)) for name, node in nodes.items())


def _path_item(item: Mapping[str, Any]) -> bytes:
    return b"".join(_message(_METHODS[method], _operation(found)) for method, found in item.items())


def _operation(found: Mapping[str, Any]) -> bytes:
    responses = (
        _named(1, code, _message(1, _response(answer)))
        for code, answer in found["responses"].items()
    )
    return b"".join(
        [
            _texts(6, found.get("produces") or ()),
            _texts(7, found.get("consumes") or ()),
            *(_message(8, _message(1, _parameter(one))) for one in found.get("parameters") or ()),
            _message(9, b"".join(responses)),
            _extensions(13, found),
        ]
    )


def _response(answer: Mapping[str, Any]) -> bytes:
    schema = answer.get("schema")
    shown = b"" if schema is None else _message(2, _message(1, _schema(schema)))
    return _text(1, answer["description"]) + shown


def _parameter(one: Mapping[str, Any]) -> bytes:
    if one["in"] == "body":
        named = _text(2, one["name"]) + _text(3, "body") + _boolean(4, one.get("required", False))
        return _message(1, named + _message(5, _schema(one["schema"])))
    content = [
        _boolean(1, one.get("required", False)),
        _text(2, one["in"]),
        _text(4, one["name"]),
        _text(6, one.get("type", "string")),
        _boolean(20, one.get("uniqueItems", False)),
    ]
    return _message(2, _message(_QUERY, b"".join(content)))


def _extensions(number: int, node: Mapping[str, Any]) -> bytes:
    found = (name for name in node if name.startswith("x-"))
    return b"".join(_named(number, name, _yaml(node[name])) for name in found)


def _yaml(value: Any) -> bytes:
    return _text(2, msgspec.json.encode(value).decode())


def _named(number: int, name: str, content: bytes) -> bytes:
    return _message(number, _text(1, name) + _message(2, content))


def _message(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _text(number: int, value: str) -> bytes:
    return _message(number, value.encode())


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _boolean(number: int, value: bool) -> bytes:
    return _key(number, _VARINT) + _varint(1) if value else b""


def _double(number: int, value: float) -> bytes:
    return _key(number, _FIXED64) + struct.pack("<d", value)


def _whole(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _any(number: int, value: Any) -> bytes:
    return _message(number, _yaml(value))


def _types(number: int, value: str | list[str]) -> bytes:
    return _message(number, _texts(1, [value] if isinstance(value, str) else value))


def _items(number: int, value: Mapping[str, Any]) -> bytes:
    return _message(number, _message(1, _schema(value)))


def _additional(number: int, value: Mapping[str, Any] | bool) -> bytes:
    if isinstance(value, bool):
        return _message(number, _key(2, _VARINT) + _varint(value))
    return _message(number, _message(1, _schema(value)))


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    # Negative numbers are their two's complement in 64 bits.
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


_QUERY: Final = 3
_METHODS: Final = {
    "get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8,
}  # fmt: skip
_SCHEMA: Final[dict[str, tuple[int, _Encode]]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _boolean),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _boolean),
    "maxLength": (11, _whole),
    "minLength": (12, _whole),
    "pattern": (13, _text),
    "maxItems": (14, _whole),
    "minItems": (15, _whole),
    "uniqueItems": (16, _boolean),
    "maxProperties": (17, _whole),
    "minProperties": (18, _whole),
    "required": (19, _texts),
    "enum": (20, lambda number, values: b"".join(_any(number, value) for value in values)),
    "additionalProperties": (21, _additional),
    "type": (22, _types),
    "items": (23, _items),
    "allOf": (24, lambda number, nodes: b"".join(_message(number, _schema(n)) for n in nodes)),
    "properties": (25, lambda number, nodes: _message(number, _schemas(nodes))),
}
"""What a schema may say, with the numbers of gnostic's ``Schema``."""
