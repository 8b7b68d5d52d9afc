"""The head of a request, as far as the short way needs to understand it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import httptools

__all__ = ["Request"]

_DROPPED: Final = frozenset({b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te"})
_OF_TRACES: Final = (b"traceparent", b"tracestate")
_NOT_SIMPLE: Final = frozenset(
    {b"content-encoding", b"expect", b"trailer", b"transfer-encoding", b"upgrade"}
)


class Request:
    """What a client asks; not ``simple`` if it is to be left to somebody else."""

    def __init__(self, head: bytes) -> None:
        self.method = b""
        self.target = b""
        self.host = ""
        self.length = 0
        self.simple = True
        self.closes = False
        self.authorization = ""
        self._once: set[bytes] = set()
        self._passed: list[bytes] = []
        self._forwarded_for: list[bytes] = []
        self._forwarded: set[bytes] = set()
        try:
            parser = httptools.HttpRequestParser(self)
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.simple = False
            return
        self.method = parser.get_method()
        if parser.get_http_version() != "1.1" or self.method in (b"HEAD", b"CONNECT"):
            self.simple = False

    # As a protocol of httptools

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        read = _READ.get(lowered := name.lower())
        if read is not None:
            read(self, value)
        elif lowered in _NOT_SIMPLE:
            self.simple = False
            return
        if lowered not in _KEPT_BACK:
            self._passed.append(b"%b: %b\r\n" % (name, value))

    # For the way to a pod

    def header(self, name: bytes) -> str:
        """A header that is passed on, by its name in lower case; looked for, so rarely asked."""
        for line in self._passed:
            key, _, value = line.partition(b": ")
            if key.lower() == name:
                return value.rstrip().decode("latin-1")
        return ""

    def beginning(self, target: bytes, trace: Mapping[str, str] | None = None) -> bytes:
        """The head that a pod is to see, but for the address that the client has, which ends it.

        A ``trace`` of the gateway's own stands for the client's.
        """
        passed = self._passed if trace is None else _within(trace, self._passed)
        parts = [b"%b %b HTTP/1.1\r\n" % (self.method, target), *passed]
        if b"host" not in self._forwarded:
            parts.append(b"X-Forwarded-Host: %b\r\n" % self.host.encode("latin-1"))
        if b"proto" not in self._forwarded:
            parts.append(b"X-Forwarded-Proto: http\r\n")
        if self.length or self.method not in (b"GET", b"DELETE", b"OPTIONS"):
            parts.append(b"Content-Length: %d\r\n" % self.length)
        parts.append(b"X-Forwarded-For: ")
        parts += (b"%b, " % before for before in self._forwarded_for)
        return b"".join(parts)

    # What single headers say

    def _read_host(self, value: bytes) -> None:
        self._not_again(b"host")
        self.host = value.decode("latin-1")

    def _not_again(self, name: bytes) -> None:
        if name in self._once:
            self.simple = False
        self._once.add(name)

    def _read_length(self, value: bytes) -> None:
        if value.isdigit():
            self.length = int(value)
        else:
            self.simple = False

    def _read_connection(self, value: bytes) -> None:
        said = value.strip().lower()
        self.closes = self.closes or said == b"close"
        if said not in (b"close", b"keep-alive"):
            self.simple = False

    def _read_authorization(self, value: bytes) -> None:
        self._not_again(b"authorization")
        self.authorization = value.decode("latin-1")

    def _read_forwarded_for(self, value: bytes) -> None:
        if value:
            self._forwarded_for.append(value)

    def _read_forwarded_host(self, _: bytes) -> None:
        self._forwarded.add(b"host")

    def _read_forwarded_proto(self, _: bytes) -> None:
        self._forwarded.add(b"proto")


def _within(trace: Mapping[str, str], lines: list[bytes]) -> list[bytes]:
    """The lines of headers, with those of a trace in place of the client's."""
    kept = [line for line in lines if line.partition(b":")[0].lower() not in _OF_TRACES]
    return [*kept, *(f"{name}: {value}\r\n".encode("latin-1") for name, value in trace.items())]


_READ: Final[dict[bytes, Callable[[Request, bytes], None]]] = {
    b"authorization": Request._read_authorization,
    b"host": Request._read_host,
    b"content-length": Request._read_length,
    b"connection": Request._read_connection,
    b"x-forwarded-for": Request._read_forwarded_for,
    b"x-forwarded-host": Request._read_forwarded_host,
    b"x-forwarded-proto": Request._read_forwarded_proto,
}
_KEPT_BACK: Final = _DROPPED | {b"content-length", b"connection", b"x-forwarded-for"}
