"""Spans of a model server, around what answers: nothing of it is there while traces are off."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from kubeling.monitoring.tracing import Span, Tracer, current_span, open_tracer
from kubeling.serving import spans
from kubeling.serving.server.batching import Runner
from kubeling.serving.server.http import (
    Handler,
    Immediately,
    Request,
    Response,
    StreamedResponse,
)
from kubeling.serving.server.prediction_times import add_prediction

__all__ = [
    "opened",
    "outgoing",
    "step",
    "traced",
    "traced_immediately",
]

_nothing: Final[Mapping[str, Any]] = MappingProxyType({})


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Tracer | None]:
    """Traces of this process, if there are to be some; what is left is sent at the end."""
    tracer = open_tracer(_name(os.environ))
    if tracer is None:
        yield None
        return
    Runner.noted = True
    try:
        yield tracer
    finally:
        Runner.noted = False
        await asyncio.to_thread(tracer.close)


def traced(handler: Handler, tracer: Tracer) -> Handler:
    """Answers as the handler does, within a span."""

    async def answer(request: Request) -> Response | StreamedResponse:
        if not _is_of_interest(request):
            return await handler(request)
        span = _span(tracer, request)
        token = current_span.set(span)
        try:
            found = await handler(request)
        except BaseException as error:
            spans.ended(span, spans.status_of(error) if isinstance(error, Exception) else 499)
            raise
        finally:
            current_span.reset(token)
        if isinstance(found, StreamedResponse):
            found.pieces = _until_its_end(found.pieces, span, found.status)
        else:
            spans.ended(span, found.status)
        return found

    return answer


def traced_immediately(immediately: Immediately, tracer: Tracer) -> Immediately:
    """The same for requests that need no task."""

    def take(request: Request, answer: Callable[[Response], None]) -> bool:
        span = _span(tracer, request)

        def done(response: Response) -> None:
            add_prediction(span)
            spans.ended(span, response.status)
            answer(response)

        token = current_span.set(span)
        try:
            return immediately(request, done)
        finally:
            current_span.reset(token)

    return take


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """A part of answering, within the span of the request."""
    request = current_span.get()
    if request is None or not request.sampled:
        yield
        return
    with request.child(name):
        yield


def outgoing() -> dict[str, str]:
    """The headers that a model's own requests carry on."""
    span = current_span.get()
    return {} if span is None else span.headers()


def _span(tracer: Tracer, request: Request) -> Span:
    return spans.request_of(tracer, request.method, request.path, request.headers, _nothing)


async def _until_its_end(
    pieces: AsyncGenerator[bytes, None], span: Span, status: int
) -> AsyncGenerator[bytes, None]:
    """The pieces of an answer; its span ends with the last, or when there will be no more."""
    why = "the client left"
    try:
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if span.sampled and not span.events:
                    span.event("first piece")
                yield piece
        why = ""
    except Exception as error:
        why = type(error).__name__
        raise
    finally:
        if why:
            span.fail(why)
        spans.ended(span, status)


def _is_of_interest(request: Request) -> bool:
    """Probes and scrapes are not, nor what the platform itself asks of a monitored model."""
    return request.method == "POST" and not request.path.startswith("/monitor/")


def _name(variables: Mapping[str, str]) -> str:
    """The service and its component, as KServe names them."""
    service = variables.get("INFERENCE_SERVICE_NAME", "")
    component = variables.get("SERVING_COMPONENT", "predictor")
    return f"{service}-{component}" if service else "model-server"
