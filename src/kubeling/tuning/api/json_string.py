"""A text of any length as one JSON string, passed on in pieces as it comes."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncGenerator, AsyncIterator

__all__ = ["json_string"]


async def json_string(text: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces, of which there is one at least; what is no UTF-8 is replaced."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    opening = b'"'
    async for chunk in text:
        yield opening + json.dumps(decoder.decode(chunk))[1:-1].encode()
        opening = b""
    yield opening + json.dumps(decoder.decode(b"", final=True))[1:].encode()
