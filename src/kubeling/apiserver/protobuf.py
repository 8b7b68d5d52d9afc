"""Reading ``application/vnd.kubernetes.protobuf`` bodies.

Go clients' typed calls (``kubectl create configmap``, ``auth can-i``, ``create token``) send their
body in this encoding only. The built-in types' table has the field numbers, so one small reader
serves all kinds; answers are JSON, which every client accepts.
"""

from __future__ import annotations

import base64
import datetime as dt
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES
from kubeling.apiserver.builtin.types import LISTS, META, Field, has, wire_fields
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

__all__ = ["MEDIA_TYPE", "decode"]

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"

_MAGIC: Final = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BROKEN: Final = (
    IndexError, ValueError, TypeError, OverflowError, OSError, struct.error, msgspec.DecodeError,
)  # fmt: skip
"""What reading a message can raise whose bytes are cut or mean something else."""


def decode(body: bytes) -> Obj:
    """The object in a body; raises :class:`BadRequest` for anything that is none."""
    if not body.startswith(_MAGIC):
        raise BadRequest("the body does not begin as a Kubernetes protobuf message does")
    try:
        envelope = dict(_records(memoryview(body)[len(_MAGIC) :]))
        type_meta = dict(_records(memoryview(envelope.get(1, b""))))
        api_version, kind = (bytes(type_meta.get(n, b"")).decode() for n in (1, 2))
        content = _message(memoryview(envelope.get(2, b"")), _definition(api_version, kind))
    except _BROKEN as error:
        raise BadRequest(f"the body is not a valid protobuf message: {error}") from None
    if not content.get("status"):
        content.pop("status", None)
    return {"apiVersion": api_version, "kind": kind, **content}


def _definition(api_version: str, kind: str) -> str:
    for entry in BUILTIN_RESOURCES:
        if entry.resource.api_version != api_version:
            continue
        if entry.resource.kind == kind:
            return entry.definition
        beside = f"{entry.definition.rpartition('.')[0]}.{kind}"
        if has(beside):
            return beside
    for found in (f"{META}.{kind}", _elsewhere(api_version, kind)):
        if has(found):
            return found
    raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}"')


def _elsewhere(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    return f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}"


def _records(data: memoryview) -> Iterator[tuple[int, Any]]:
    """``(field number, value)``: integers, or bytes as views."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
        elif wire == _BYTES:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise ValueError("truncated")
            yield number, data[position : position + length]
            position += length
        elif wire == _FIXED64:
            yield number, struct.unpack_from("<d", data, position)[0]
            position += 8
        elif wire == _FIXED32:
            yield number, struct.unpack_from("<f", data, position)[0]
            position += 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _message(data: memoryview, definition: str) -> Any:
    by_number = {field.number: (name, field) for name, field in wire_fields(definition).items()}
    result: Obj = {}
    for number, value in _records(data):
        if number not in by_number:
            continue
        name, field = by_number[number]
        if field.inline:
            result |= _message(value, field.type)
        elif field.container == "[]":
            result.setdefault(name, []).append(_value(value, field))
        elif field.container == "{}":
            entry = dict(_records(value))
            inner = _value(entry.get(2, memoryview(b"")), field)
            result.setdefault(name, {})[bytes(entry.get(1, b"")).decode()] = inner
        else:
            decoded = _value(value, field)
            if not _left_out(decoded, field):
                result[name] = decoded
    return result["items"] if definition.endswith(LISTS) else result


def _left_out(value: Any, field: Field) -> bool:
    """Go writes zeros, empty strings and zero times in protobuf that it leaves out in JSON."""
    if value is None:
        return True
    return not (value or field.pointer or field.required or isinstance(value, dict))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _value(value: Any, field: Field) -> Any:
    match field.type:
        case "string":
            return bytes(value).decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "bool":
            return bool(value)
        case "int32" | "int64":
            return _signed(value)
        case "double":
            return value
        case "quantity":
            return bytes(dict(_records(value)).get(1, b"")).decode()
        case "intstr":
            parts = dict(_records(value))
            return bytes(parts.get(3, b"")).decode() if parts.get(1) else _signed(parts.get(2, 0))
        case "time" | "microtime":
            return _time(dict(_records(value)), field.type)
        case "duration":
            return f"{_signed(dict(_records(value)).get(1, 0)) / 1e9:g}s"
        case "raw" | "fields":
            return _json(value)
        case type_ if type_.startswith("any:"):
            return _json(value)
        case definition:
            return _message(value, definition)


def _time(parts: dict[int, Any], kind: str) -> str | None:
    if not parts or parts.get(1, 0) >= 1 << 63:
        return None
    moment = dt.datetime.fromtimestamp(parts.get(1, 0), dt.UTC)
    if kind == "time":
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{parts.get(2, 0) // 1000:06d}Z"


def _json(value: memoryview) -> Any:
    raw = bytes(dict(_records(value)).get(1, b""))
    return msgspec.json.decode(raw) if raw else {}
