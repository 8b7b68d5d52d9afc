"""A request over HTTP/1, sent to a pod as it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError
from multidict import CIMultiDict
from yarl import URL

from kubeling.monitoring.tracing import TRACEPARENT, TRACESTATE
from kubeling.proxying.websockets import is_websocket
from kubeling.serving.gateway import proxying
from kubeling.serving.gateway.delivery import Place, Unreached
from kubeling.serving.gateway.leaving import LEFT
from kubeling.serving.gateway.passage import Passage
from kubeling.serving.gateway.repetition import may_be_repeated
from kubeling.serving.gateway.websockets import passed_through

__all__ = ["LongWay"]

_WHOLE: Final = 1 << 20
_CONNECT_SECONDS: Final = 5.0
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What a pod raises that has not been sent anything."""


class LongWay:
    """One request, sent by aiohttp: to a second pod only if the first sent nothing back, and if it
    changes nothing.
    """

    def __init__(
        self,
        request: web.Request,
        session: aiohttp.ClientSession,
        target: str,
        cut_short: Callable[[int, str, str], object],
        passage: Passage | None = None,
    ) -> None:
        self._request = request
        self._passage = passage
        self._cut_short = cut_short
        self._session = session
        self._target = target
        self._whole: bytes | None = None
        length = request.content_length or 0
        whole = length <= _WHOLE and (length > 0 or not request.can_read_body)
        self._repeatable = whole and may_be_repeated(request.method, target)

    async def send(self, place: Place) -> web.StreamResponse:
        """The pod's answer; raises :class:`Unreached`."""
        url = proxying.pod_url(place.endpoint.address, self._target)
        headers = proxying.request_headers(self._request)
        if self._passage is not None:
            for name in (TRACEPARENT, TRACESTATE):
                headers.popall(name, None)
            headers.update(self._passage.asks(place))
        try:
            if is_websocket(self._request.headers):
                return await passed_through(self._request, self._session, url, place, headers)
            return await self._answer(url, place, headers)
        except _UNREACHED as error:
            raise Unreached(f"{place.revision} cannot be reached: {error}") from error

    async def _answer(
        self, url: URL, place: Place, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        started, status = time.perf_counter(), 502
        seconds = place.route.timeout
        try:
            async with self._session.request(
                self._request.method,
                url,
                data=await self._body(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS),
                allow_redirects=False,
            ) as answer:
                status = answer.status
                return await proxying.passed_on(
                    self._request, answer, place.revision, self._cut_short
                )
        except _UNREACHED:
            status = 0
            raise
        except asyncio.CancelledError:
            status = LEFT
            raise
        except TimeoutError:
            status = 504
            text = f"{place.revision} did not answer within {seconds:g} s"
            return proxying.error(504, text, place.revision)
        except RequestPayloadError as error:
            status = 0
            return proxying.error(400, f"the request's body cannot be read: {error}")
        except aiohttp.ClientError as broken:
            if _is_the_senders(self._request, broken):
                status = 0
                cause = broken.__cause__
                return proxying.error(400, f"the request's body cannot be read: {cause}")
            said = f"{place.revision} broke off: {str(broken) or type(broken).__name__}"
            if self._repeatable:
                self._repeatable, status = False, 0
                raise Unreached(said, broke_off=place.endpoint.address) from broken
            status = 502
            return proxying.error(502, said, place.revision)
        finally:
            if status:
                place.record.add(status, time.perf_counter() - started)
                if self._passage is not None:
                    self._passage.asked(status)

    async def _body(self) -> bytes | aiohttp.StreamReader | None:
        if self._whole is None and self._repeatable:
            self._whole = await self._request.read()
        if self._whole is not None:
            return self._whole or None
        return self._request.content if self._request.can_read_body else None


def _is_the_senders(request: web.Request, broken: aiohttp.ClientError) -> bool:
    """Whether who asked went away, or sent a body that cannot be read: no fault of the pod."""
    return request.transport is None or isinstance(broken.__cause__, RequestPayloadError)
