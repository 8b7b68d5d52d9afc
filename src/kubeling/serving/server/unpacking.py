"""Bodies that came packed (``Content-Encoding``), within the bounds of those that did not."""

from __future__ import annotations

import zlib
from typing import Final

from kubeling.serving.server.errors import InvalidInput, TooLarge

__all__ = ["unpacked"]

_KNOWN: Final = ("gzip", "x-gzip", "deflate")
_MOST_PARTS: Final = 64
"""Parts of one body; each further one would have the rest copied once more."""


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before; raises :class:`InvalidInput` and :class:`TooLarge`."""
    kind = encoding.strip().lower()
    if not kind or kind == "identity":
        return body
    if kind not in _KNOWN:
        raise InvalidInput(f"content-encoding {encoding} is not taken; send gzip, deflate or none")
    found: list[bytes] = []
    left = limit
    # A body of gzip may have several parts.
    while body:
        if len(found) == _MOST_PARTS:
            raise InvalidInput(f"the body has more than {_MOST_PARTS} parts")
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            found.append(unpack.decompress(body, left))
        except zlib.error as error:
            raise InvalidInput(f"the body is not valid {encoding}: {error}") from None
        left -= len(found[-1])
        if unpack.unconsumed_tail or (not left and unpack.unused_data):
            raise TooLarge(f"the body is larger than {limit} bytes")
        if not unpack.eof:
            raise InvalidInput(f"the body ends before its {encoding} does")
        body = unpack.unused_data
    return b"".join(found)
