"""A request over HTTP/1, sent to a pod as it is."""

from __future__ import annotations

import time
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from kubeling.proxying.websockets import is_websocket
from kubeling.serving.gateway import proxying, service, websockets
from kubeling.serving.gateway.delivery import Place, Unreached

__all__ = ["sent"]

_CONNECT_SECONDS: Final = 5.0
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What a pod raises that has not been sent anything."""


async def sent(
    request: web.Request, session: aiohttp.ClientSession, place: Place, target: str
) -> web.StreamResponse:
    """The pod's answer; raises :class:`Unreached`."""
    url = f"http://{place.endpoint.address}{target}"
    pass_on = websockets.passed_through if is_websocket(request.headers) else _answered
    try:
        return await pass_on(request, session, url, place)
    except _UNREACHED as error:
        raise Unreached(f"{place.revision} cannot be reached: {error}") from error


async def _answered(
    request: web.Request, session: aiohttp.ClientSession, url: str, place: Place
) -> web.StreamResponse:
    started, status = time.perf_counter(), 502
    seconds = service.timeout_of(place.isvc)
    try:
        async with session.request(
            request.method,
            url,
            data=request.content if request.can_read_body else None,
            headers=proxying.request_headers(request),
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS),
            allow_redirects=False,
        ) as answer:
            status = answer.status
            return await proxying.passed_on(request, answer, place.revision)
    except _UNREACHED:
        status = 0
        raise
    except TimeoutError:
        status = 504
        text = f"{place.revision} did not answer within {seconds:g} s"
        return proxying.error(504, text, place.revision)
    except aiohttp.ClientError as broken:
        if _is_the_senders(request, broken):
            status = 0
            return proxying.error(400, f"the request's body cannot be read: {broken.__cause__}")
        said = str(broken) or type(broken).__name__
        return proxying.error(502, f"{place.revision} broke off: {said}", place.revision)
    finally:
        if status:
            place.record.add(status, time.perf_counter() - started)


def _is_the_senders(request: web.Request, broken: aiohttp.ClientError) -> bool:
    """Whether who asked went away, or sent a body that cannot be read: no fault of the pod."""
    return request.transport is None or isinstance(broken.__cause__, RequestPayloadError)
