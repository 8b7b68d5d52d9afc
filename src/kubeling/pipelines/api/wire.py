"""JSON on the wire: proto field names, unset fields left out, times in RFC 3339."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.kube.errors import ApiError, Conflict, InsufficientStorage, NotFound, lacks_room
from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import ApiFailure, InvalidArgumentError
from kubeling.pipelines.api.messages import Shape, read_message

__all__ = [
    "EPOCH",
    "answer",
    "body_of",
    "compact",
    "handler",
    "query_of",
    "stream_handler",
    "upload_handler",
    "wire_time",
]

EPOCH: Final = "1970-01-01T00:00:00Z"
_ENCODER: Final = msgspec.json.Encoder()

Endpoint = Callable[[web.Request], Awaitable[Obj]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(value: Any, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.Response(body=_ENCODER.encode(value), status=status, content_type="application/json")


def compact(**fields: Any) -> Obj:
    """The message without unset fields, as proto-JSON has it; ``False`` and 0 are unset, too."""
    return {key: value for key, value in fields.items() if value or value == EPOCH}


def wire_time(moment: dt.datetime | None) -> str:
    """A time, the beginning of 1970 where there is none."""
    if moment is None:
        return EPOCH
    return moment.replace(tzinfo=None).isoformat() + "Z"


def query_of(request: web.Request, name: str) -> str:
    """A query value; an empty one is as good as none."""
    return request.query.get(name, "").strip()


async def body_of(request: web.Request, shape: Shape) -> Obj:
    """The message in the request's body; nothing sent is a message without fields."""
    data = await request.read()
    try:
        body = msgspec.json.decode(data or b"{}")
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"the body is not valid JSON: {error}") from None
    return read_message(body, shape)


def handler(endpoint: Endpoint) -> Handler:
    """Turns an endpoint's result, or its refusal, into a response."""

    @wraps(endpoint)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return answer(await endpoint(request))
        except ApiFailure as error:
            failure = {"code": error.code, "message": str(error), "details": []}
            return answer(failure, error.http)
        except (ApiError, OSError) as error:
            refused = _as_refusal(error)
            return answer(_from_kubernetes(refused), refused.status_code)

    return handle


def _as_refusal(error: ApiError | OSError) -> ApiError:
    """What to answer; whatever else the system refused is a fault of ours."""
    if isinstance(error, ApiError):
        return error
    if not lacks_room(error):
        raise error
    return InsufficientStorage("the disk is full: free some space and try again")


def stream_handler(endpoint: Handler) -> Handler:
    """As :func:`handler`, for what answers with a stream; errors in both of upstream's forms."""

    @wraps(endpoint)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await endpoint(request)
        except ApiFailure as error:
            return answer(_stream_failure(error.code, str(error)), error.http)
        except ApiError as error:
            failure = _from_kubernetes(error)
            return answer(_stream_failure(failure["code"], error.message), error.status_code)

    return handle


def _stream_failure(code: int, message: str) -> Obj:
    return {
        "code": code,
        "message": message,
        "details": [],
        "error_message": message,
        "error_details": message,
    }


def upload_handler(endpoint: Endpoint, what: str) -> Handler:
    """As :func:`handler`, with the error body of the upload endpoints."""

    @wraps(endpoint)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return answer(await endpoint(request))
        except ApiFailure as error:
            return answer(_upload_failure(what, str(error)), error.http)
        except (ApiError, OSError) as error:
            refused = _as_refusal(error)
            return answer(_upload_failure(what, refused.message), refused.status_code)

    return handle


def _upload_failure(what: str, message: str) -> Obj:
    return {"error_message": f"Failed to {what}: {message}", "error_details": message}


def _from_kubernetes(error: ApiError) -> Obj:
    codes: Mapping[int, int] = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 422: 3, 503: 14, 507: 8}
    if isinstance(error, Conflict):
        code = 10
    elif isinstance(error, NotFound):
        code = 5
    else:
        code = codes.get(error.status_code, 13)
    return {"code": code, "message": error.message, "details": []}
