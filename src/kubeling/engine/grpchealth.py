"""One call of ``grpc.health.v1.Health/Check``, as a gRPC probe makes it.

The request and its answer are a field of one message each, so HTTP/2 frames are all that is needed
of gRPC; ``h2`` provides those for half a megabyte, where ``grpcio`` would be twelve.
"""

from __future__ import annotations

import asyncio
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

__all__ = ["check_health"]

_PATH: Final = "/grpc.health.v1.Health/Check"
_STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = "SERVING"
_OK: Final = "0"
_UNIMPLEMENTED: Final = "12"
_CHUNK: Final = 65536
_PREFIX: Final = 5


async def check_health(host: str, port: int, service: str, timeout: float) -> str:
    """Asks a server for the health of a service; returns what is wrong, empty if it serves."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return f'timeout: failed to connect service "{host}:{port}" within {timeout:g}s'
    try:
        async with asyncio.timeout(timeout):
            return await _call(reader, writer, f"{host}:{port}", service)
    except TimeoutError:
        return f"timeout: health rpc did not complete within {timeout:g}s"
    except (OSError, ProtocolError) as error:
        return f"error: health rpc probe failed: {error}"
    finally:
        writer.close()


async def _call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> str:
    connection = H2Connection(H2Configuration(header_encoding=None))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, _headers(authority))
    connection.send_data(stream, _request(service), end_stream=True)
    answer = _Answer()
    while not answer.ended:
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(_CHUNK)
        if not data:
            return "error: health rpc probe failed: the connection was closed"
        for event in connection.receive_data(data):
            answer.take(event)
    return answer.verdict()


class _Answer:
    """What has come back so far."""

    def __init__(self) -> None:
        self.ended = False
        self._headers: dict[str, str] = {}
        self._data = b""

    def take(self, event: Event) -> None:
        match event:
            case ResponseReceived() | TrailersReceived():
                for name, value in event.headers or ():
                    self._headers[bytes(name).decode()] = bytes(value).decode()
            case DataReceived():
                self._data += event.data or b""
            case StreamEnded() | StreamReset() | ConnectionTerminated():
                self.ended = True

    def verdict(self) -> str:
        code = self._headers.get("grpc-status", "")
        message = self._headers.get("grpc-message", "")
        if code == _UNIMPLEMENTED:
            text = "error: this server does not implement the grpc health protocol"
            return f"{text} (grpc.health.v1.Health): {message}"
        if code != _OK:
            return f"error: health rpc probe failed: {message or f'status {code or None}'}"
        status = _STATUSES.get(_status(self._data[_PREFIX:]), "UNKNOWN")
        return "" if status == _SERVING else f'service unhealthy (responded with "{status}")'


def _headers(authority: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", _PATH),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", "kube-probe/1.36"),
        ("te", "trailers"),
    ]


def _request(service: str) -> bytes:
    """``HealthCheckRequest{service}`` as an uncompressed message."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(_PREFIX - 1, "big") + message


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _status(message: bytes) -> int:
    """``HealthCheckResponse.status``, which is left out when it is 0."""
    return message[1] if message[:1] == b"\x08" and len(message) > 1 else 0
