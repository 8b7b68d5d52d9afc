"""SPDY/3.1 frames, as far as ``kubectl port-forward`` speaks them inside a websocket.

The last draft of the protocol is from 2013 and no Python library for it is kept up; what is needed
is small. Sans I/O: bytes in, frames out, and back. Header blocks are compressed by one zlib stream
per direction and connection, which begins with the words that the protocol names.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "Data",
    "Frame",
    "GoAway",
    "Ping",
    "Reset",
    "SpdyDecoder",
    "SpdyEncoder",
    "SpdyError",
    "SynReply",
    "SynStream",
]

_VERSION: Final = 3
_HEAD: Final = 8
_FIN: Final = 0x01
_CONTROL: Final = 0x80000000
_ID: Final = 0x7FFFFFFF
_SYN_STREAM, _SYN_REPLY, _RESET, _PING, _GO_AWAY = 1, 2, 3, 6, 7
_LARGEST_HEADERS: Final = 1 << 16
_LARGEST_CONTROL: Final = 1 << 16

_NAMES: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date "
    "etag expect expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified location max-forwards pragma proxy-authenticate "
    "proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url "
    "public set-cookie keep-alive origin"
)
_VALUES: Final = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    b"401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    b"503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00"
    b" Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    b"application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    b"gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


_DICTIONARY: Final = (
    b"".join(_counted(name.replace("_", " ").encode()) for name in _NAMES.split()) + _VALUES
)


class SpdyError(Exception):
    """The other side does not speak the protocol; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """Opens a stream; with ``fin`` its opener will send nothing on it."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class SynReply:
    """Accepts a stream."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Something sent on a stream; with ``fin`` the last of its sender."""

    stream: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Ends a stream in both directions."""

    stream: int
    status: int = 5
    """Why; 5 is "not needed any more"."""


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it came."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No further streams, please."""

    last_stream: int = 0


Frame = SynStream | SynReply | Data | Reset | Ping | GoAway


class SpdyEncoder:
    """Writes frames of one direction of a connection."""

    def __init__(self) -> None:
        self._headers = zlib.compressobj(zdict=_DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The frame's bytes; to be sent in the order of the calls."""
        match frame:
            case Data(stream, data, fin):
                return struct.pack(">II", stream, _flags(fin) | len(data)) + data
            case SynStream(stream, headers, fin):
                opening = struct.pack(">IIH", stream, 0, 0)
                return _control(_SYN_STREAM, opening + self._block(headers), fin)
            case SynReply(stream, headers, fin):
                reply = struct.pack(">I", stream) + self._block(headers)
                return _control(_SYN_REPLY, reply, fin)
            case Reset(stream, status):
                return _control(_RESET, struct.pack(">II", stream, status))
            case Ping(number):
                return _control(_PING, struct.pack(">I", number))
            case GoAway(last):
                return _control(_GO_AWAY, struct.pack(">II", last, 0))

    def _block(self, headers: Mapping[str, str]) -> bytes:
        plain = len(headers).to_bytes(4, "big") + b"".join(
            _counted(name.encode("latin-1")) + _counted(value.encode("latin-1"))
            for name, value in headers.items()
        )
        return self._headers.compress(plain) + self._headers.flush(zlib.Z_SYNC_FLUSH)


class SpdyDecoder:
    """Reads frames of one direction of a connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._headers = zlib.decompressobj(zdict=_DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now; raises :class:`SpdyError`.

        Data is handed on as it comes, so that no frame has to fit into memory.
        """
        self._buffer += data
        while len(self._buffer) >= _HEAD:
            first, second = struct.unpack_from(">II", self._buffer)
            length, fin = second & 0xFFFFFF, bool(second >> 24 & _FIN)
            if first & _CONTROL and length > _LARGEST_CONTROL:
                raise SpdyError(f"a control frame of {length} bytes is too large")
            if not first & _CONTROL and len(self._buffer) < _HEAD + length:
                yield from self._part(first, length)
                return
            if len(self._buffer) < _HEAD + length:
                return
            body = bytes(self._buffer[_HEAD : _HEAD + length])
            del self._buffer[: _HEAD + length]
            if not first & _CONTROL:
                yield Data(first, body, fin)
            elif (frame := self._frame(first, body, fin)) is not None:
                yield frame

    def _part(self, stream: int, length: int) -> Iterator[Frame]:
        """What has come of a data frame; the rest of it becomes a frame of its own."""
        body = bytes(self._buffer[_HEAD:])
        if body:
            flags = self._buffer[4]
            self._buffer[:] = struct.pack(">II", stream, flags << 24 | length - len(body))
            yield Data(stream, body)

    def _frame(self, first: int, body: bytes, fin: bool) -> Frame | None:
        if first >> 16 & 0x7FFF != _VERSION:
            raise SpdyError(f"version {first >> 16 & 0x7FFF} of SPDY is not spoken here")
        try:
            match first & 0xFFFF:
                case 1:
                    return SynStream(_id(body), self._unpacked(body[10:]), fin)
                case 2:
                    return SynReply(_id(body), self._unpacked(body[4:]), fin)
                case 3:
                    return Reset(_id(body), _id(body[4:]))
                case 6:
                    return Ping(*struct.unpack_from(">I", body))
                case 7:
                    return GoAway(_id(body))
                case 8:
                    self._unpacked(body[4:])  # for the compression's sake
                    return None
                case _:
                    return None  # settings and windows: nothing that has to be obeyed
        except struct.error as error:
            raise SpdyError(f"a frame is too short: {error}") from error

    def _unpacked(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._headers.decompress(block, _LARGEST_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"the headers cannot be read: {error}") from error
        if self._headers.unconsumed_tail:
            raise SpdyError("the headers are too large")
        strings = _strings(plain)
        return dict(zip(strings, strings, strict=False))


def _strings(plain: bytes) -> Iterator[str]:
    position = 4
    for _ in range(2 * struct.unpack_from(">I", plain)[0]):
        (length,) = struct.unpack_from(">I", plain, position)
        position += 4
        if position + length > len(plain):
            raise SpdyError("a header is longer than the headers")
        yield plain[position : position + length].decode("latin-1")
        position += length


def _id(body: bytes) -> int:
    return int(struct.unpack_from(">I", body)[0]) & _ID


def _flags(fin: bool) -> int:
    return _FIN << 24 if fin else 0


def _control(kind: int, body: bytes, fin: bool = False) -> bytes:
    return struct.pack(">II", _CONTROL | _VERSION << 16 | kind, _flags(fin) | len(body)) + body
