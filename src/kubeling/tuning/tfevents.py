"""Scalars out of TensorFlow's event files, without TensorFlow. Pure.

A file is a row of records (length, its checksum, data, its checksum; ``tf_record.proto``), each an
``Event`` with the values of a ``Summary``: plain numbers in the old form, one-element tensors in
the new. Fields by number: ``event.proto``, ``summary.proto`` and ``tensor.proto`` of TensorFlow.
Checksums are not compared: a record that is cut off is read when the rest of it is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

__all__ = ["Scalar", "metric_of", "records", "scalars"]

_HEADER: Final = struct.Struct("<Q4x")
_FOOTER: Final = 4
_LONGEST: Final = 1 << 28
_WIDTHS: Final = {1: 8, 5: 4}
_FLOAT, _DOUBLE, _INT32, _INT64 = 1, 2, 3, 9
_CONTENT: Final = {_FLOAT: "<f", _DOUBLE: "<d", _INT32: "<i", _INT64: "<q"}
_PACKED: Final = {5: "<f", 6: "<d"}
_VARINTS: Final = (7, 10)


class EventFileError(ValueError):
    """Bytes that are no event file."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value of a tag, and when it was written in seconds since 1970."""

    tag: str
    value: float
    time: float


def records(data: bytes) -> tuple[list[bytes], int]:
    """The whole records at the beginning, and how many bytes they take."""
    found, place = [], 0
    while place + _HEADER.size <= len(data):
        (length,) = _HEADER.unpack_from(data, place)
        if length > _LONGEST:
            raise EventFileError(f"a record of {length} bytes at byte {place}")
        end = place + _HEADER.size + length + _FOOTER
        if end > len(data):
            break
        found.append(data[place + _HEADER.size : end - _FOOTER])
        place = end
    return found, place


def scalars(record: bytes) -> list[Scalar]:
    """The scalars of one event, most of which have none; raises :class:`EventFileError`."""
    try:
        return _scalars(record)
    except struct.error as error:
        raise EventFileError(f"a number of another length: {error}") from error


def _scalars(record: bytes) -> list[Scalar]:
    time, found = 0.0, []
    for number, value in _fields(record):
        if number == 1 and isinstance(value, bytes):
            (time,) = struct.unpack("<d", value)
        elif number == 5 and isinstance(value, bytes):
            found += [_scalar(v) for n, v in _fields(value) if n == 1 and isinstance(v, bytes)]
    return [Scalar(tag, value, time) for tag, value in filter(None, found)]


def metric_of(tag: str, folder: str, names: Iterable[str]) -> str | None:
    """Which of the metrics a tag of a file in a folder is.

    As upstream (``tfevent_loader.py``): the tag begins with the name; of a name such as
    ``train/loss`` the tag begins with ``loss`` and the folder ends with ``train``. Tags that carry
    the whole name count, too.
    """
    for name in names:
        parent, slash, last = name.rpartition("/")
        inside = not slash or str(PurePosixPath(folder)).endswith(parent)
        if tag == name or (inside and tag.startswith(last)):
            return name
    return None


def _scalar(value: bytes) -> tuple[str, float] | None:
    tag, number_ = "", None
    for number, content in _fields(value):
        if not isinstance(content, bytes):
            continue
        if number == 1:
            tag = content.decode(errors="replace")
        elif number == 2:
            (number_,) = struct.unpack("<f", content)
        elif number == 8:
            number_ = _tensor(content)
    return (tag, float(number_)) if tag and number_ is not None else None


def _tensor(tensor: bytes) -> float | None:
    """The value of a tensor of one element."""
    kind = 0
    for number, content in _fields(tensor):
        if number == 1 and isinstance(content, int):
            kind = content
        elif number == 4 and isinstance(content, bytes) and kind in _CONTENT:
            form = _CONTENT[kind]
            if len(content) == struct.calcsize(form):
                return float(struct.unpack(form, content)[0])
        elif number in _PACKED and isinstance(content, bytes):
            form = _PACKED[number]
            if len(content) == struct.calcsize(form):
                return float(struct.unpack(form, content)[0])
        elif number in _VARINTS:
            value = content if isinstance(content, int) else _varint(content, 0)[0]
            return float(value - (1 << 64) if value >= 1 << 63 else value)
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: varints as numbers, all others as bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind == 2:
            length, place = _varint(data, place)
        elif kind in _WIDTHS:
            length = _WIDTHS[kind]
        else:
            raise EventFileError(f"no field begins with wire type {kind}")
        if place + length > len(data):
            raise EventFileError("a message ends within a field")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise EventFileError("a message ends within a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
