"""Messages that came compressed: clients of grpcio and Triton compress where they are asked to."""

from __future__ import annotations

import zlib
from typing import Final

from kubeling.rpc.calls import Code, RpcError

__all__ = ["unpacked"]

_KNOWN: Final = ("gzip", "deflate")
_MOST: Final = 256 * 1024 * 1024
"""Of a compressed message: it may be a thousand times what came."""


def unpacked(data: bytes, encoding: str, limit: int | None) -> bytes:
    """The message as it was before; raises :class:`RpcError`."""
    if encoding not in _KNOWN:
        text = (
            f"messages come as they are or by {', '.join(_KNOWN)}, not by {encoding or 'nothing'}"
        )
        raise RpcError(Code.UNIMPLEMENTED, text)
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    most = limit or _MOST
    try:
        found = unpack.decompress(data, most)
    except zlib.error as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"the message is no {encoding}: {error}") from None
    if unpack.unconsumed_tail:
        text = f"Received message larger than max (unpacked, {most})"
        raise RpcError(Code.RESOURCE_EXHAUSTED, text)
    if not unpack.eof:
        raise RpcError(Code.INVALID_ARGUMENT, f"the message ends before its {encoding} does")
    return found
