"""Reads the answers of a pod, one after the other, as they are to be passed on.

Most pods answer with the same few heads, and a small answer arrives by itself and whole: such a one
is told by its head alone, as the parser once read it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import httptools

from kubeling.serving.gateway.http1.heads import END, Heads

__all__ = ["AnswerHead", "AnswerReader", "NotHttpError"]

_BODILESS: Final = (204, 304)
_OF_CONNECTIONS: Final = frozenset({b"close", b"keep-alive"})
_DROPPED: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class AnswerHead(NamedTuple):
    """What a client is told, but for the end, which the gateway adds; and how much follows."""

    status: int
    told: bytes
    length: int = 0


class NotHttpError(Exception):
    """What came is no answer."""


class AnswerReader:
    """Is fed what comes, and gathers what is to be passed on until that is taken."""

    def __init__(self, heads: Heads[AnswerHead]) -> None:
        self._heads = heads
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[bytes] = []
        self._named: set[bytes] = set()
        self._reason = b""
        self._framing = b""
        self._sized = self._chunked = False
        self._alone = b""
        self.between = True
        """Whether the next that comes begins an answer."""
        self.until_end = False
        """Whether the end of the connection ends the answer."""
        self.head: AnswerHead | None = None
        self.pieces: list[bytes] = []
        self.whole = False
        """Whether the answer has come to its end."""
        self.keeps = False
        """Whether another one may be asked for by the same connection."""

    def find(self, data: bytes) -> tuple[AnswerHead, bytes] | None:
        """The head and the body, if these bytes are a whole answer whose head is known."""
        end = data.find(END) + len(END)
        head = self._heads.find(data[:end])
        return (head, data[end:]) if head is not None and len(data) - end == head.length else None

    def feed(self, data: bytes) -> None:
        """Reads what came; raises :class:`NotHttpError`."""
        self._alone = data if self.between else b""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.whole:
                raise NotHttpError from None
            self.keeps = False
        self._alone = b""

    def end(self) -> None:
        """The connection has ended, and the answer with it."""
        if not self.whole:
            self.on_message_complete()

    def next(self) -> None:
        """Turns to the next answer."""
        self.between, self.until_end, self.whole = True, False, False

    # As a protocol of httptools

    def on_message_begin(self) -> None:
        if self.whole:
            # More than was asked for: the next answer on this connection could not be trusted.
            self.keeps = False
            return
        self.between = False
        self._headers, self._named = [], set()
        self._reason, self._framing = b"", b""
        self._sized = self._chunked = False

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered not in _DROPPED:
            self._headers.append(b"%b: %b\r\n" % (name, value))
        elif lowered == b"content-length":
            self._framing = b"Content-Length: %b\r\n" % value
        elif lowered == b"transfer-encoding":
            self._sized = True
        elif lowered == b"connection":
            self._named |= {word.strip() for word in value.lower().split(b",")}

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.whole or status < 200:
            self._alone = b""
            return
        if not self._framing and status not in _BODILESS:
            self._chunked = True
            self.until_end = not self._sized
            self._framing = b"Transfer-Encoding: chunked\r\n"
        if not self._named <= _OF_CONNECTIONS:
            # What a pod says to whom it is connected to, which is not the client.
            self._headers = [
                h for h in self._headers if h.split(b":")[0].lower() not in self._named
            ]
        line = b"HTTP/1.1 %d %b\r\n" % (status, self._reason)
        self.head = AnswerHead(status, b"".join((line, *self._headers, self._framing)))
        if self._alone.startswith(b"HTTP/1.1 ") and status not in _BODILESS and not self._sized:
            self._learn(self.head)

    def on_body(self, body: bytes) -> None:
        if not self.whole:
            self.pieces.append(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    def on_message_complete(self) -> None:
        if self.whole or (not self.until_end and self._parser.get_status_code() < 200):
            return
        if self._chunked:
            self.pieces.append(b"0\r\n\r\n")
        self.whole = True
        self.keeps = self._parser.should_keep_alive()

    def _learn(self, head: AnswerHead) -> None:
        """Remembers the head of an answer that came by itself and whole, its length before it."""
        end = self._alone.find(END) + len(END)
        length = len(self._alone) - end
        if b"Content-Length: %d\r\n" % length == self._framing and self._parser.should_keep_alive():
            self._heads.learn(self._alone[:end], head._replace(length=length))
