"""Hands :mod:`.wire`'s messages to grpclib, which knows those of protobuf's generated code only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpclib.encoding.base import CodecBase

from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.wire import Message

__all__ = ["Codec", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes of a message; none where any size will do."""

    received: int | None = None
    sent: int | None = None


class Codec(CodecBase):
    """Messages to bytes and back; reading raises :class:`~.wire.MessageError`, and both
    :class:`~.calls.RpcError` for a message beyond the limits.

    A large message may come as bytes already, made where there was time for it.
    """

    __content_subtype__ = "proto"

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def encode(self, message: Any, message_type: Any) -> bytes:
        found = message if isinstance(message, bytes) else Message.to_bytes(message)
        if self._limits.sent is not None and len(found) > self._limits.sent:
            raise _too_large("Sent", len(found), self._limits.sent)
        return found

    def decode(self, data: bytes, message_type: Any) -> Any:
        if self._limits.received is not None and len(data) > self._limits.received:
            raise _too_large("Received", len(data), self._limits.received)
        return message_type.from_bytes(data)


def _too_large(what: str, size: int, limit: int) -> RpcError:
    """The words of grpcio."""
    return RpcError(Code.RESOURCE_EXHAUSTED, f"{what} message larger than max ({size} vs. {limit})")
