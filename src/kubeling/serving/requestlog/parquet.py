"""Writes small tables of text as Parquet: one row group, plain encoding, gzip.

A log of text columns needs a sliver of the format, and the library for all of it is larger than
most models' environments. Source: the Parquet format's thrift definition, in the compact protocol.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["table_bytes"]

_MAGIC: Final = b"PAR1"
_BOOLEAN, _INT64, _BYTE_ARRAY = 0, 2, 6
_UTF8: Final = 0
_REQUIRED: Final = 0
_PLAIN, _RLE = 0, 3
_GZIP: Final = 2

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12

Column = Sequence[str] | Sequence[bool] | Sequence[int]


def table_bytes(columns: Mapping[str, Column]) -> bytes:
    """The file; a column is of text, of booleans, or of whole numbers."""
    rows = len(next(iter(columns.values()), ()))
    out = bytearray(_MAGIC)
    chunks = []
    for name, values in columns.items():
        plain, kind = _encoded(values)
        packed = gzip.compress(plain, mtime=0)
        header = _page_header(len(values), len(plain), len(packed))
        start = len(out)
        out += header + packed
        sizes = (len(header) + len(plain), len(header) + len(packed))
        chunks.append(_chunk(name, kind, len(values), start, *sizes))
    footer = _footer(columns, chunks, rows)
    return bytes(out + footer + struct.pack("<I", len(footer)) + _MAGIC)


def _encoded(values: Column) -> tuple[bytes, int]:
    first = values[0] if values else ""
    if isinstance(first, bool):
        packed = bytearray((len(values) + 7) // 8)
        for place, value in enumerate(values):
            packed[place // 8] |= bool(value) << place % 8
        return bytes(packed), _BOOLEAN
    if isinstance(first, int):
        return struct.pack(f"<{len(values)}q", *values), _INT64
    texts = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts), _BYTE_ARRAY


def _page_header(count: int, plain: int, packed: int) -> bytes:
    data = _struct((1, _I32, count), (2, _I32, _PLAIN), (3, _I32, _RLE), (4, _I32, _RLE))
    return _struct((1, _I32, 0), (2, _I32, plain), (3, _I32, packed), (5, _STRUCT, data))


def _chunk(name: str, kind: int, count: int, start: int, plain: int, packed: int) -> bytes:
    meta = _struct(
        (1, _I32, kind),
        (2, _LIST, (_I32, [_varint(_zigzag(_PLAIN)), _varint(_zigzag(_RLE))])),
        (3, _LIST, (_BINARY, [_text(name)])),
        (4, _I32, _GZIP),
        (5, _I64, count),
        (6, _I64, plain),
        (7, _I64, packed),
        (9, _I64, start),
    )
    return _struct((2, _I64, start), (3, _STRUCT, meta))


def _footer(columns: Mapping[str, Column], chunks: list[bytes], rows: int) -> bytes:
    schema = [_struct((4, _BINARY, "schema"), (5, _I32, len(columns)))]
    for name, values in columns.items():
        kind = _encoded(values[:1])[1]
        fields: list[tuple[int, int, Any]] = [
            (1, _I32, kind),
            (3, _I32, _REQUIRED),
            (4, _BINARY, name),
        ]
        if kind == _BYTE_ARRAY:
            fields.append((6, _I32, _UTF8))
        schema.append(_struct(*fields))
    total = sum(map(len, chunks))
    group = _struct((1, _LIST, (_STRUCT, chunks)), (2, _I64, total), (3, _I64, rows))
    return _struct(
        (1, _I32, 1),
        (2, _LIST, (_STRUCT, schema)),
        (3, _I64, rows),
        (4, _LIST, (_STRUCT, [group])),
        (6, _BINARY, "kubeling"),
    )


def _struct(*fields: tuple[int, int, Any]) -> bytes:
    """A thrift struct in the compact protocol; its fields in order of their ids."""
    out, before = bytearray(), 0
    for number, kind, value in fields:
        out.append((number - before) << 4 | kind)
        before = number
        out += _value(kind, value)
    return bytes(out + b"\x00")


def _value(kind: int, value: Any) -> bytes:
    if kind in (_I32, _I64):
        return _varint(_zigzag(value))
    if kind == _BINARY:
        return _text(value)
    if kind == _LIST:
        inner, items = value
        head = bytes([len(items) << 4 | inner]) if len(items) < 15 else b""
        head = head or bytes([0xF0 | inner]) + _varint(len(items))
        return head + b"".join(items)
    found: bytes = value
    return found


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _varint(len(encoded)) + encoded


def _zigzag(value: int) -> int:
    return value << 1 ^ value >> 63


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
