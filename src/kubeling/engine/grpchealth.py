"""One call of ``grpc.health.v1.Health/Check``, as a gRPC probe makes it.

The request and its answer are a field of one message each, so no message library is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

__all__ = ["check_health"]

_PATH: Final = "/grpc.health.v1.Health/Check"
_STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = "SERVING"
_FAILED: Final = "error: health rpc probe failed:"


async def check_health(host: str, port: int, service: str, timeout: float) -> str:
    """Asks a server for the health of a service; returns what is wrong, empty if it serves."""
    with contextlib.closing(Channel(host, port, codec=_Bytes())) as channel:
        try:
            async with asyncio.timeout(timeout):
                await channel.__connect__()
        except (OSError, TimeoutError):
            return f'timeout: failed to connect service "{host}:{port}" within {timeout:g}s'
        try:
            status = await _status(channel, service, timeout)
        except TimeoutError:
            return f"timeout: health rpc did not complete within {timeout:g}s"
        except GRPCError as error:
            return _refused(error)
        except (OSError, ProtocolError, StreamTerminatedError) as error:
            return f"{_FAILED} {error}"
    return "" if status == _SERVING else f'service unhealthy (responded with "{status}")'


class _Bytes(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


async def _status(channel: Channel, service: str, timeout: float) -> str:
    check = UnaryUnaryMethod[bytes, bytes](channel, _PATH, bytes, bytes)
    answer = await check(_request(service), timeout=timeout)
    # ``HealthCheckResponse.status`` is left out when it is 0.
    number = answer[1] if answer[:1] == b"\x08" and len(answer) > 1 else 0
    return _STATUSES.get(number, "UNKNOWN")


def _refused(error: GRPCError) -> str:
    message = error.message or f"status {error.status.value}"
    if error.status is Status.UNIMPLEMENTED:
        text = "error: this server does not implement the grpc health protocol"
        return f"{text} (grpc.health.v1.Health): {message}"
    return f"{_FAILED} {message}"


def _request(service: str) -> bytes:
    """``HealthCheckRequest{service}``."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
