"""Asks the steps of one request to a graph."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from re import Pattern
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from kubeling.kube.objects import Obj
from kubeling.monitoring.tracing import TRACEPARENT, TRACESTATE, Span
from kubeling.proxying.headers import HOP_BY_HOP
from kubeling.serving import spans
from kubeling.serving.gateway.leaving import LEFT
from kubeling.serving.graph.execution import Answer, GraphFailure
from kubeling.serving.graph.timings import StepTimings

__all__ = ["StepCaller"]

_DEFAULT_SECONDS: Final = 600.0
_HOPS: Final = "X-Kubeling-Graph-Hops"
_MOST_HOPS: Final = 20
_OWN: Final = (*HOP_BY_HOP, "content-length", "content-encoding", "expect", "host")
"""Headers of this one message, which no pattern passes on."""


class Addresses(Protocol):
    """Knows where steps are asked."""

    propagated: Pattern[str]
    passes_tokens: bool

    def url_of(self, graph: Obj, step: Obj, own: str) -> tuple[str, str]:
        """Where a step is asked, and as which host; ``own`` is the gateway's address."""


class StepCaller:
    """The calls of one request; answers that stream are open until ``stack`` is left.

    Raises :class:`GraphFailure` if the request has come through so many graphs that one of them
    asks itself.
    """

    def __init__(
        self,
        addresses: Addresses,
        graph: Obj,
        request: web.Request,
        session: aiohttp.ClientSession,
        stack: AsyncExitStack,
        timings: StepTimings,
        span: Span | None = None,
    ) -> None:
        self._span = span
        hops = _number(request.headers.get(_HOPS, ""))
        if hops >= _MOST_HOPS:
            raise GraphFailure(508, f"the request came through {hops} graphs; one asks itself")
        assert request.transport is not None
        host, port = request.transport.get_extra_info("sockname")[:2]
        self._own = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._addresses = addresses
        self._graph = graph
        self._session = session
        self._stack = stack
        self._timings = timings
        wanted = addresses.propagated
        self._headers = CIMultiDict((k, v) for k, v in request.headers.items() if wanted.search(k))
        own = _OWN if span is None else (*_OWN, TRACEPARENT, TRACESTATE)
        for name in own:
            self._headers.popall(name, None)
        self._headers.setdefault("Content-Type", "application/json")
        self._headers[_HOPS] = str(hops + 1)
        self._token = request.headers.get("Authorization") if addresses.passes_tokens else None

    async def call(self, step: Obj, body: bytes, path: str, last: bool) -> Answer:
        """What a step answers: its body, unless it is the last one and streams."""
        url, host = self._addresses.url_of(self._graph, step, self._own)
        headers = self._headers.copy()
        if host:
            headers["Host"] = host
        if self._token and url.startswith(f"{self._own}/"):
            headers["Authorization"] = self._token
        asked = self._step_span(path, url)
        if asked is not None:
            headers.update(asked.headers())
        started, status, why = time.perf_counter(), 500, ""
        try:
            answer = await self._stack.enter_async_context(
                self._session.post(url, data=body, headers=headers, timeout=_timeout(self._graph))
            )
            status = answer.status
            kind = answer.headers.get("Content-Type", "")
            if last and answer.content_length is None:
                return Answer(status, b"", kind, _pieces(answer))
            return Answer(status, await answer.read(), kind)
        except asyncio.CancelledError:
            status = LEFT
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            target = step.get("serviceName") or step.get("serviceUrl")
            why = str(error) or "it did not answer in time"
            raise GraphFailure(500, f"{target}: {why}") from error
        finally:
            if asked is not None:
                spans.ended(asked, 0 if why else status, why)
            self._timings.add(self._graph, path, status, time.perf_counter() - started)

    def _step_span(self, path: str, url: str) -> Span | None:
        """The span of a step, with which the trace goes on."""
        if self._span is None:
            return None
        address = urlsplit(url).netloc.rpartition("@")[2]
        made = spans.client_of(self._span, "POST", address, {spans.STEP: path})
        made.name = f"step {path}"
        return made


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for piece in answer.content.iter_any():
        yield piece


def _timeout(graph: Obj) -> aiohttp.ClientTimeout:
    """A step's timeout."""
    timeouts = graph["spec"].get("routerTimeouts") or {}
    seconds = timeouts.get("serviceClient") or graph["spec"].get("timeout")
    return aiohttp.ClientTimeout(total=float(seconds or _DEFAULT_SECONDS))
