"""Conversions between types, sizes, and dates and durations as text."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.functions.operators import checked_int
from kubeling.apiserver.cel.library import Library
from kubeling.apiserver.cel.values import MAX_INT, MAX_UINT, MIN_INT, Uint, kind_of

__all__ = ["CONVERSIONS", "TypeValue", "parse_duration", "parse_timestamp", "text_of"]

CONVERSIONS: Final = Library()
define = CONVERSIONS.define


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: ``type(1) == int``."""

    cel_name: ClassVar[str] = "type"
    name: str


define("type(A) -> type(A)")(lambda value: TypeValue(kind_of(value)))
define("dyn(A) -> dyn")(lambda value: value)
define(
    "size(string) -> int",
    "size(bytes) -> int",
    "size(list(A)) -> int",
    "size(map(A, B)) -> int",
    "string.size() -> int",
    "bytes.size() -> int",
    "list(A).size() -> int",
    "map(A, B).size() -> int",
)(len)

# Numbers

_INT: Final = re.compile(r"[+-]?\d+")


@define("int(string) -> int")
def _int_of_text(text: str) -> int:
    if _INT.fullmatch(text) and MIN_INT <= (value := int(text)) <= MAX_INT:
        return value
    raise EvalError(f'strconv.ParseInt: parsing "{text}": invalid syntax')


@define("int(double) -> int")
def _int_of_double(value: float) -> int:
    if not math.isfinite(value):
        raise EvalError("integer overflow")
    return checked_int(int(value))


define("int(int) -> int")(lambda value: value)
define("int(uint) -> int")(lambda value: checked_int(int(value)))
define("int(timestamp) -> int")(lambda value: math.floor(value.timestamp()))


@define("uint(int) -> uint", "uint(uint) -> uint", "uint(double) -> uint", "uint(string) -> uint")
def _uint(value: Any) -> Uint:
    try:
        found = int(value)
    except (ValueError, OverflowError):
        raise EvalError(f'strconv.ParseUint: parsing "{value}": invalid syntax') from None
    if 0 <= found <= MAX_UINT:
        return Uint(found)
    raise EvalError("unsigned integer overflow")


@define(
    "double(int) -> double",
    "double(uint) -> double",
    "double(double) -> double",
    "double(string) -> double",
)
def _double(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise EvalError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None


# Truth and bytes

_TRUTH: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


@define("bool(string) -> bool")
def _bool_of_text(text: str) -> bool:
    if text in _TRUTH:
        return _TRUTH[text]
    raise EvalError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


define("bool(bool) -> bool")(lambda value: value)
define("bytes(string) -> bytes")(str.encode)
define("bytes(bytes) -> bytes")(lambda value: value)


# Text


@define(
    *(f"string({name}) -> string" for name in ("int", "uint", "double", "string", "bool", "bytes")),
    "string(timestamp) -> string",
    "string(duration) -> string",
)
def text_of(value: Any) -> str:
    """A value as text, in Go's forms."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return _text_of_double(value)
        case bytes():
            return _text_of_bytes(value)
        case dt.datetime():
            return _text_of_timestamp(value)
        case dt.timedelta():
            return _text_of_duration(value)
    raise EvalError(f"no such overload: string({kind_of(value)})")


def _text_of_double(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    if value == 0 or -4 <= int(exponent) < 6:
        return repr(value).removesuffix(".0")
    return f"{mantissa}e{int(exponent):+03d}"


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvalError("invalid UTF-8 in bytes, cannot convert to string") from None


def _text_of_timestamp(value: dt.datetime) -> str:
    text = value.astimezone(dt.UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def _text_of_duration(value: dt.timedelta) -> str:
    micros = value // dt.timedelta(microseconds=1)
    return f"{_decimal(micros)}s"


def _decimal(micros: int) -> str:
    whole, rest = divmod(abs(micros), 1_000_000)
    text = f"{whole}.{rest:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if micros < 0 else text


# Dates and durations

_UNITS: Final = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ns": 1,
}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|μs|ns)")
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)"
)


@define("duration(string) -> duration")
def parse_duration(text: str) -> dt.timedelta:
    """Reads ``1h30m``; raises :class:`EvalError`."""
    sign, body = (-1 if text[:1] == "-" else 1), text.lstrip("+-")
    parts = _PART.findall(body)
    if body == "0":
        return dt.timedelta()
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise EvalError(f'time: invalid duration "{text}"')
    nanos = sum(round(float(number) * _UNITS[unit]) for number, unit in parts)
    if nanos > MAX_INT:
        raise EvalError(f'time: invalid duration "{text}"')
    return dt.timedelta(microseconds=sign * nanos / 1000)


@define("timestamp(string) -> timestamp")
def parse_timestamp(text: str) -> dt.datetime:
    """Reads a time as in RFC 3339; raises :class:`EvalError`."""
    match = _TIMESTAMP.fullmatch(text)
    try:
        if match is not None:
            fraction = (match[2] or "0")[:6].ljust(6, "0")
            zone = "+00:00" if match[3] in "Zz" else match[3]
            return dt.datetime.fromisoformat(f"{match[1].upper()}.{fraction}{zone}")
    except ValueError:
        pass
    raise EvalError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse')


@define("timestamp(int) -> timestamp")
def _timestamp_of_seconds(seconds: int) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise EvalError("timestamp overflow") from None


define("timestamp(timestamp) -> timestamp", "duration(duration) -> duration")(lambda value: value)
