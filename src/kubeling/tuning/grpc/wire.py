"""Protocol buffers of version 3, as far as Katib's messages go.

A message is a dataclass whose fields carry their numbers::

    class Metric(Message):
        name: str = text(1)
        value: str = text(2)

Every field has a default and one that equals it is not sent; fields nobody knows are passed over,
as the format demands. A message within a message is always there to be read, empty if it was not
sent.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Final, TypeVar, cast, dataclass_transform

__all__ = [
    "Message",
    "MessageError",
    "double",
    "enum",
    "integer",
    "integers",
    "message",
    "messages",
    "text",
    "text_map",
    "texts",
]

M = TypeVar("M", bound="Message")
E = TypeVar("E", bound=IntEnum)

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_LARGEST_SHIFT: Final = 63
_64_BITS: Final = (1 << 64) - 1


class MessageError(ValueError):
    """Bytes that are no message."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """How a field is written and read; ``read`` returns what the field becomes."""

    number: int
    write: Callable[[Any], Iterator[tuple[int, bytes]]]
    read: Callable[[Any, int, Any], Any]


def _field(codec: _Codec, **default: Any) -> Any:
    return field(metadata={"codec": codec}, **default)


def text(number: int) -> str:
    """A ``string``."""
    return cast("str", _field(_Codec(number, _write_text, _read_text), default=""))


def integer(number: int) -> int:
    """An ``int32``."""
    return cast("int", _field(_Codec(number, _write_integer, _read_integer), default=0))


def double(number: int) -> float:
    """A ``double``."""
    return cast("float", _field(_Codec(number, _write_double, _read_double), default=0.0))


def enum(number: int, kind: type[E]) -> E:
    """An enumeration; a number that it lacks reads as its first."""

    def read(_: Any, __: int, value: Any) -> E:
        known = {member.value for member in kind}
        return kind(value if value in known else 0)

    return cast("E", _field(_Codec(number, _write_integer, read), default=kind(0)))


def message(number: int, kind: type[M]) -> M:
    """A message within the message."""

    def read(_: Any, __: int, value: Any) -> M:
        return kind.from_bytes(value)

    def write(value: M) -> Iterator[tuple[int, bytes]]:
        payload = value.to_bytes()
        if payload:
            yield _BYTES, _delimited(payload)

    return cast("M", _field(_Codec(number, write, read), default_factory=kind))


def messages(number: int, kind: type[M]) -> list[M]:
    """``repeated`` messages."""

    def read(before: list[M], _: int, value: Any) -> list[M]:
        before.append(kind.from_bytes(value))
        return before

    def write(values: list[M]) -> Iterator[tuple[int, bytes]]:
        for value in values:
            yield _BYTES, _delimited(value.to_bytes())

    return cast("list[M]", _field(_Codec(number, write, read), default_factory=list))


def texts(number: int) -> list[str]:
    """``repeated string``."""

    def read(before: list[str], _: int, value: Any) -> list[str]:
        before.append(value.decode())
        return before

    def write(values: list[str]) -> Iterator[tuple[int, bytes]]:
        for value in values:
            yield _BYTES, _delimited(value.encode())

    return cast("list[str]", _field(_Codec(number, write, read), default_factory=list))


def integers(number: int) -> list[int]:
    """``repeated int32``, packed when sent and either way when read."""

    def read(before: list[int], kind: int, value: Any) -> list[int]:
        if kind == _VARINT:
            return [*before, _signed(value)]
        found, place = list(before), 0
        while place < len(value):
            one, place = _read_varint(value, place)
            found.append(_signed(one))
        return found

    def write(values: list[int]) -> Iterator[tuple[int, bytes]]:
        if values:
            yield _BYTES, _delimited(b"".join(_varint(value & _64_BITS) for value in values))

    return cast("list[int]", _field(_Codec(number, write, read), default_factory=list))


def text_map(number: int) -> dict[str, str]:
    """``map<string, string>``."""

    def read(before: dict[str, str], _: int, value: Any) -> dict[str, str]:
        entry = _Entry.from_bytes(value)
        return {**before, entry.key: entry.value}

    def write(values: dict[str, str]) -> Iterator[tuple[int, bytes]]:
        for key, value in values.items():
            yield _BYTES, _delimited(_Entry(key, value).to_bytes())

    return cast("dict[str, str]", _field(_Codec(number, write, read), default_factory=dict))


@dataclass_transform(
    field_specifiers=(text, integer, double, enum, message, messages, texts, integers, text_map)
)
class Message:
    """The base of messages; a subclass is a dataclass as it stands."""

    _codecs: ClassVar[dict[str, _Codec]] = {}

    def __init_subclass__(cls) -> None:
        dataclass(cls)
        cls._codecs = {f.name: f.metadata["codec"] for f in dataclasses.fields(cast("Any", cls))}

    def to_bytes(self) -> bytes:
        """The message as it is sent."""
        out = bytearray()
        for name, codec in self._codecs.items():
            for kind, payload in codec.write(getattr(self, name)):
                out += _varint(codec.number << 3 | kind)
                out += payload
        return bytes(out)

    @classmethod
    def from_bytes(cls: type[M], data: bytes) -> M:
        """The message that was sent; raises :class:`MessageError`."""
        made = cls()
        names = {codec.number: name for name, codec in cls._codecs.items()}
        for number, kind, value in _fields(data):
            name = names.get(number)
            if name is None:
                continue
            try:
                read = cls._codecs[name].read
                setattr(made, name, read(getattr(made, name), kind, value))
            except (AttributeError, TypeError, ValueError, struct.error) as error:
                raise MessageError(f"{cls.__name__}.{name}: {error}") from error
        return made


def _write_text(value: str) -> Iterator[tuple[int, bytes]]:
    if value:
        yield _BYTES, _delimited(value.encode())


def _read_text(_: Any, __: int, value: Any) -> str:
    return cast("str", value.decode())


def _write_integer(value: int) -> Iterator[tuple[int, bytes]]:
    if value:
        yield _VARINT, _varint(int(value) & _64_BITS)


def _read_integer(_: Any, __: int, value: Any) -> int:
    return _signed(value)


def _write_double(value: float) -> Iterator[tuple[int, bytes]]:
    if value:
        yield _FIXED64, struct.pack("<d", value)


def _read_double(_: Any, __: int, value: Any) -> float:
    return cast("float", struct.unpack("<d", value)[0])


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type and value."""
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        value: Any
        match tag & 7:
            case 0:
                value, place = _read_varint(data, place)
            case 1:
                value, place = _take(data, place, 8)
            case 2:
                length, place = _read_varint(data, place)
                value, place = _take(data, place, length)
            case 5:
                value, place = _take(data, place, 4)
            case kind:
                raise MessageError(f"no field begins with wire type {kind}")
        yield tag >> 3, tag & 7, value


def _take(data: bytes, place: int, length: int) -> tuple[bytes, int]:
    end = place + length
    if end > len(data):
        raise MessageError("the message ends within a field")
    return data[place:end], end


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > _LARGEST_SHIFT:
            raise MessageError("the message ends within a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _delimited(payload: bytes) -> bytes:
    return _varint(len(payload)) + payload


class _Entry(Message):
    """An entry of a map."""

    key: str = text(1)
    value: str = text(2)
