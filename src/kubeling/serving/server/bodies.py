"""Bodies of both REST protocols: requests decoded, answers encoded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, cast

import msgspec

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.http import Request
from kubeling.serving.server.infer_types import InferRequest, InferResponse
from kubeling.serving.server.responses import Response, StreamedResponse, json_response
from kubeling.serving.server.rest_v2 import HEADER, decode_request

__all__ = ["from_v1", "from_v2", "of_answer", "of_own_words", "of_tensors", "plain"]

_OCTETS: Final = "application/octet-stream"
_LENGTH: Final = HEADER.lower()
_decode: Final = msgspec.json.Decoder().decode


def plain(raw: bytes) -> Any:
    """JSON as plain values; raises :class:`InvalidInput`."""
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from None


def from_v1(request: Request, _: str = "") -> Any:
    """The body of V1; raises :class:`InvalidInput`."""
    return plain(request.body)


def from_v2(request: Request, model: str) -> InferRequest:
    """The body of V2; raises :class:`InvalidInput`."""
    return decode_request(request.body, _json_length(request), model)


def of_answer(found: Any) -> Response:
    """What a model answered: tensors of V2, or plain values."""
    return of_tensors(found, {}) if isinstance(found, InferResponse) else json_response(found)


def of_tensors(answer: InferResponse, given: Mapping[str, str]) -> Response:
    """An answer of V2, with bytes after its JSON where they were asked for."""
    body, json_length = answer.to_rest()
    if json_length is None:
        return json_response(body, headers=given)
    headers = {**given, HEADER: str(json_length)}
    return Response(cast(bytes, body), 200, _OCTETS, headers)


def of_own_words(
    answer: str | bytes | AsyncIterator[Any], given: Mapping[str, str]
) -> Response | StreamedResponse:
    """What a model of V1 gives that is no JSON value, sent as upstream's server sends it."""
    if isinstance(answer, AsyncIterator):
        return StreamedResponse(_pieces(answer), headers=given)
    if isinstance(answer, bytes):
        return Response(answer, 200, _OCTETS, given)
    return Response(answer.encode(), 200, "text/plain; charset=utf-8", given)


async def _pieces(answer: AsyncIterator[Any]) -> AsyncGenerator[bytes, None]:
    async for piece in answer:
        yield piece if isinstance(piece, bytes) else str(piece).encode()


def _json_length(request: Request) -> int | None:
    text = request.headers.get(_LENGTH)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise InvalidInput(f"{HEADER} must be a number of bytes, not {text[:40]!r}")
    return int(text)
