"""Merges predictions in front of a container: of V1 as upstream's agent does it, and of V2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from kubeling.serving.agent.answers import Answer
from kubeling.serving.server.errors import InvalidInput, ServingError
from kubeling.serving.server.infer_types import InferRequest, InferResponse
from kubeling.serving.server.merging import Merger, merged_v1, merged_v2
from kubeling.serving.server.rest_v2 import HEADER, decode_request, decode_response

__all__ = ["merged"]

_JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"

Send = Callable[[bytes, Mapping[str, str]], Awaitable[Answer]]
"""Asks the container with a body, and with these headers in place of the request's own."""


class _Refused(Exception):
    """The container answered with a failure, which is its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


async def merged(
    merger: Merger, path: str, headers: Mapping[str, str], body: bytes, send: Send
) -> Answer:
    """The answer to a prediction at a path; what cannot be merged goes as it is."""
    try:
        if path.endswith(":predict"):
            return await _v1(merger, path, body, send)
        if path.endswith("/infer"):
            return await _v2(merger, path, headers, body, send)
    except _Refused as refused:
        return refused.answer
    except ServingError as error:
        content = msgspec.json.encode({"error": str(error)})
        return Answer(error.http_status, {"Content-Type": _JSON}, content)
    return await send(body, {})


async def _v1(merger: Merger, path: str, body: bytes, send: Send) -> Answer:
    try:
        asked = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return await send(body, {})
    instances = asked.get("instances") if isinstance(asked, dict) else None
    if not isinstance(instances, list) or not instances:
        return await send(body, {})

    async def ask(payload: Any) -> Any:
        answer = await send(msgspec.json.encode(payload), {"Content-Type": _JSON})
        return msgspec.json.decode(_good(answer).body)

    found = await merged_v1(merger, path, asked, ask)
    return Answer(200, {"Content-Type": _JSON}, msgspec.json.encode(found))


async def _v2(
    merger: Merger, path: str, headers: Mapping[str, str], body: bytes, send: Send
) -> Answer:
    model = path.split("/")[3]
    length = headers.get(HEADER) or headers.get(HEADER.lower())
    try:
        request = decode_request(body, int(length) if length else None, model)
    except (InvalidInput, ValueError):
        # The container says what is wrong with it.
        return await send(body, {})

    async def ask(payload: InferRequest) -> InferResponse:
        content, given = _encoded(payload)
        answer = _good(await send(content, given))
        of_json = answer.headers.get(HEADER)
        return decode_response(answer.body, int(of_json) if of_json else None)

    found = await merged_v2(merger, path, request, ask)
    found.id = request.id or found.id
    found.requested_outputs = request.request_outputs
    found.use_binary_outputs = request.use_binary_outputs
    content, given = _encoded(found)
    return Answer(200, given, content)


def _good(answer: Answer) -> Answer:
    if answer.status != 200:
        raise _Refused(answer)
    return answer


def _encoded(payload: InferRequest | InferResponse) -> tuple[bytes, dict[str, str]]:
    content, length = payload.to_rest()
    if length is None:
        return msgspec.json.encode(content), {"Content-Type": _JSON}
    assert isinstance(content, bytes)
    return content, {"Content-Type": _BINARY, HEADER: str(length)}
