"""Hands :mod:`.wire`'s messages to grpclib, which knows those of protobuf's generated code only."""

from __future__ import annotations

from typing import Any

from grpclib.encoding.base import CodecBase

from kubeling.rpc.wire import Message

__all__ = ["Codec"]


class Codec(CodecBase):
    """Messages to bytes and back; reading raises :class:`~.wire.MessageError`.

    A message may come as bytes already, made by somebody else.
    """

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return message if isinstance(message, bytes) else Message.to_bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.from_bytes(data)
