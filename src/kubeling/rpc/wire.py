"""Protocol buffers of version 3, as far as the messages of Katib and KServe go.

A message is a dataclass whose fields carry their numbers::

    class Metric(Message):
        name: str = text(1)
        value: str = text(2)

Every field has a default and one that equals it is not sent; fields nobody knows are passed over,
as the format demands. A message within a message is always there to be read, empty if it was not
sent. A member of a ``oneof`` is an ``optional_`` field: ``None`` if it was not sent.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Final, TypeVar, cast, dataclass_transform

__all__ = [
    "Message",
    "MessageError",
    "blobs",
    "boolean",
    "booleans",
    "double",
    "doubles",
    "enum",
    "floats",
    "integer",
    "integers",
    "longs",
    "message",
    "message_map",
    "messages",
    "optional_boolean",
    "optional_double",
    "optional_long",
    "optional_text",
    "optional_unsigned",
    "text",
    "text_map",
    "texts",
    "unsigneds",
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


@dataclass(frozen=True, slots=True)
class _Scalar:
    """How a value of a simple type is written and read."""

    kind: int
    encode: Callable[[Any], bytes]
    decode: Callable[[Any], Any]


def _number(decode: Callable[[int], Any]) -> _Scalar:
    return _Scalar(_VARINT, lambda value: _varint(int(value) & _64_BITS), decode)


def _signed(bits: int) -> Callable[[int], int]:
    top, modulus = 1 << (bits - 1), 1 << bits

    def decode(value: int) -> int:
        value &= modulus - 1
        return value - modulus if value >= top else value

    return decode


_TEXT: Final = _Scalar(_BYTES, lambda value: _delimited(value.encode()), lambda raw: raw.decode())
_BLOB: Final = _Scalar(_BYTES, lambda value: _delimited(value), lambda raw: raw[:])
_INT32: Final = _number(_signed(32))
_INT64: Final = _number(_signed(64))
_UINT64: Final = _number(lambda value: value & _64_BITS)
_BOOL: Final = _number(lambda value: value & _64_BITS != 0)
_DOUBLE: Final = _Scalar(
    _FIXED64, lambda value: struct.pack("<d", value), lambda raw: struct.unpack("<d", raw)[0]
)


def _field(codec: _Codec, **default: Any) -> Any:
    return field(metadata={"codec": codec}, **default)


def _plain(number: int, scalar: _Scalar, default: Any) -> Any:
    """A field that is not sent if it equals its default."""

    def write(value: Any) -> Iterator[tuple[int, bytes]]:
        if value != default:
            yield scalar.kind, scalar.encode(value)

    return _field(_Codec(number, write, lambda _, __, raw: scalar.decode(raw)), default=default)


def _optional(number: int, scalar: _Scalar) -> Any:
    """A field that is sent if it is not ``None``."""

    def write(value: Any) -> Iterator[tuple[int, bytes]]:
        if value is not None:
            yield scalar.kind, scalar.encode(value)

    return _field(_Codec(number, write, lambda _, __, raw: scalar.decode(raw)), default=None)


def _repeated(number: int, scalar: _Scalar) -> Any:
    """A field with a value for each element."""

    def read(before: list[Any], _: int, value: Any) -> list[Any]:
        before.append(scalar.decode(value))
        return before

    def write(values: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
        for value in values:
            yield scalar.kind, scalar.encode(value)

    return _field(_Codec(number, write, read), default_factory=list)


def _packed(number: int, scalar: _Scalar) -> Any:
    """Repeated numbers of variable length: packed when sent, and either way when read."""

    def read(before: list[Any], kind: int, value: Any) -> list[Any]:
        if kind == _VARINT:
            before.append(scalar.decode(value))
            return before
        place = 0
        while place < len(value):
            one, place = _read_varint(value, place)
            before.append(scalar.decode(one))
        return before

    def write(values: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
        if len(values):
            yield _BYTES, _delimited(b"".join(map(scalar.encode, values)))

    return _field(_Codec(number, write, read), default_factory=list)


def _fixed(number: int, form: str) -> Any:
    """Repeated numbers of fixed length, all read at once."""
    size = struct.calcsize(form)

    def read(before: list[Any], _: int, value: Any) -> list[Any]:
        before.extend(struct.unpack(f"<{len(value) // size}{form}", value))
        return before

    def write(values: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
        if len(values):
            yield _BYTES, _delimited(struct.pack(f"<{len(values)}{form}", *values))

    return _field(_Codec(number, write, read), default_factory=list)


def text(number: int) -> str:
    """A ``string``."""
    return cast("str", _plain(number, _TEXT, ""))


def integer(number: int) -> int:
    """An ``int32``."""
    return cast("int", _plain(number, _INT32, 0))


def boolean(number: int) -> bool:
    """A ``bool``."""
    return cast("bool", _plain(number, _BOOL, False))


def double(number: int) -> float:
    """A ``double``."""
    return cast("float", _plain(number, _DOUBLE, 0.0))


def optional_text(number: int) -> str | None:
    """A ``string`` of a ``oneof``."""
    return cast("str | None", _optional(number, _TEXT))


def optional_boolean(number: int) -> bool | None:
    """A ``bool`` of a ``oneof``."""
    return cast("bool | None", _optional(number, _BOOL))


def optional_long(number: int) -> int | None:
    """An ``int64`` of a ``oneof``."""
    return cast("int | None", _optional(number, _INT64))


def optional_unsigned(number: int) -> int | None:
    """A ``uint64`` of a ``oneof``."""
    return cast("int | None", _optional(number, _UINT64))


def optional_double(number: int) -> float | None:
    """A ``double`` of a ``oneof``."""
    return cast("float | None", _optional(number, _DOUBLE))


def enum(number: int, kind: type[E]) -> E:
    """An enumeration; a number that it lacks reads as its first."""
    known = {member.value for member in kind}
    scalar = _number(lambda value: kind(value if value in known else 0))
    return cast("E", _plain(number, scalar, kind(0)))


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
    scalar = _Scalar(_BYTES, lambda value: _delimited(value.to_bytes()), kind.from_bytes)
    return cast("list[M]", _repeated(number, scalar))


def texts(number: int) -> list[str]:
    """``repeated string``."""
    return cast("list[str]", _repeated(number, _TEXT))


def blobs(number: int) -> list[bytes]:
    """``repeated bytes``."""
    return cast("list[bytes]", _repeated(number, _BLOB))


def integers(number: int) -> list[int]:
    """``repeated int32``."""
    return cast("list[int]", _packed(number, _INT32))


def longs(number: int) -> list[int]:
    """``repeated int64``."""
    return cast("list[int]", _packed(number, _INT64))


def unsigneds(number: int) -> list[int]:
    """``repeated uint32`` or ``uint64``."""
    return cast("list[int]", _packed(number, _UINT64))


def booleans(number: int) -> list[bool]:
    """``repeated bool``."""
    return cast("list[bool]", _packed(number, _BOOL))


def floats(number: int) -> list[float]:
    """``repeated float``."""
    return cast("list[float]", _fixed(number, "f"))


def doubles(number: int) -> list[float]:
    """``repeated double``."""
    return cast("list[float]", _fixed(number, "d"))


def text_map(number: int) -> dict[str, str]:
    """``map<string, string>``."""

    def read(before: dict[str, str], _: int, value: Any) -> dict[str, str]:
        entry = _Entry.from_bytes(value)
        return {**before, entry.key: entry.value}

    def write(values: dict[str, str]) -> Iterator[tuple[int, bytes]]:
        for key, value in values.items():
            yield _BYTES, _delimited(_Entry(key, value).to_bytes())

    return cast("dict[str, str]", _field(_Codec(number, write, read), default_factory=dict))


def message_map(number: int, kind: type[M]) -> dict[str, M]:
    """``map<string, …>`` of messages."""

    def read(before: dict[str, M], _: int, value: Any) -> dict[str, M]:
        key, raw = "", b""
        for place, __, found in _fields(value):
            if place == 1:
                key = found.decode()
            elif place == 2:
                raw = found
        return {**before, key: kind.from_bytes(raw)}

    def write(values: dict[str, M]) -> Iterator[tuple[int, bytes]]:
        for key, value in values.items():
            name = b"\x0a" + _delimited(key.encode()) if key else b""
            yield _BYTES, _delimited(name + b"\x12" + _delimited(value.to_bytes()))

    return cast("dict[str, M]", _field(_Codec(number, write, read), default_factory=dict))


@dataclass_transform()  # without specifiers, so that each field is seen to have a default
class Message:
    """The base of messages; a subclass is a dataclass as it stands."""

    _codecs: ClassVar[dict[str, _Codec]] = {}
    _names: ClassVar[dict[int, str]] = {}

    def __init_subclass__(cls) -> None:
        dataclass(cls)
        cls._codecs = {f.name: f.metadata["codec"] for f in dataclasses.fields(cast("Any", cls))}
        cls._names = {codec.number: name for name, codec in cls._codecs.items()}

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
        for number, kind, value in _fields(data):
            name = cls._names.get(number)
            if name is None:
                continue
            try:
                read = cls._codecs[name].read
                setattr(made, name, read(getattr(made, name), kind, value))
            except (AttributeError, TypeError, ValueError, struct.error) as error:
                raise MessageError(f"{cls.__name__}.{name}: {error}") from error
        return made


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


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


_SMALL: Final = [bytes([value]) for value in range(0x80)]


def _delimited(payload: bytes) -> bytes:
    return _varint(len(payload)) + payload


class _Entry(Message):
    """An entry of a map."""

    key: str = text(1)
    value: str = text(2)
