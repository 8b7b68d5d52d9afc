"""``pods/log``: reads the query, lets the node read the log."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from kubeling.apiserver.node import LogStream, NodeApi
from kubeling.apiserver.options import truthy
from kubeling.apiserver.query import Query
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, StreamAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.kube.errors import BadRequest, FieldError, Invalid, ServiceUnavailable
from kubeling.kube.objects import parse_time

__all__ = ["LogHandler"]

_STREAMS: Final[tuple[LogStream, ...]] = ("All", "Stdout", "Stderr")
_PATIENCE: Final = 0.2
"""How long to wait for a first line, or a refusal, before the answer begins."""


class LogHandler:
    """Serves the logs of pods."""

    def __init__(self, registry: Registry, node: NodeApi | None) -> None:
        self._registry = registry
        self._node = node

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        self._registry.get(served, target.namespace, target.name)
        if self._node is None:
            raise ServiceUnavailable("no node runs here: there are no logs to read")
        query = request.query
        chunks = self._node.logs(
            target.namespace,
            target.name,
            query.get("container", ""),
            follow=truthy(query, "follow"),
            previous=truthy(query, "previous"),
            tail_lines=_count(query, "tailLines"),
            since=self._since(query),
            timestamps=truthy(query, "timestamps"),
            limit_bytes=_count(query, "limitBytes"),
            stream=_stream(query),
        )
        return StreamAnswer(await _begun(chunks))

    def _since(self, query: Query) -> dt.datetime | None:
        seconds = _count(query, "sinceSeconds")
        text = query.get("sinceTime", "")
        if seconds is not None and text:
            message = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            error = FieldError("sinceSeconds", "Forbidden", message)
            raise Invalid.of("", "PodLogOptions", "", [error])
        if seconds is not None:
            return self._registry.clock.now() - dt.timedelta(seconds=seconds)
        if not text:
            return None
        try:
            return parse_time(text)
        except ValueError:
            raise BadRequest(
                f"sinceTime: {text!r} is not a time such as 2026-01-31T12:00:00Z"
            ) from None


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The chunks, once the first is there or the log is known to be silent for now.

    What the node refuses it refuses at the first chunk; waiting for that lets the refusal become
    the answer's status.
    """
    first = asyncio.ensure_future(anext(chunks, None))
    try:
        await asyncio.wait({first}, timeout=_PATIENCE)
        if first.done():
            first.result()
    except BaseException:
        first.cancel()
        raise
    return _rest(first, chunks)


async def _rest(
    first: asyncio.Future[bytes | None], chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    try:
        chunk = await first
        while chunk is not None:
            yield chunk
            chunk = await anext(chunks, None)
    finally:
        first.cancel()
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _stream(query: Query) -> LogStream:
    """The stream to read; the last lines can be told only for both together, as upstream."""
    text = query.get("stream") or "All"
    for stream in _STREAMS:
        if text == stream:
            if stream != "All" and query.get("tailLines"):
                message = "`tailLines` and specific `stream` are mutually exclusive for now"
                error = FieldError("tailLines", "Forbidden", message)
                raise Invalid.of("", "PodLogOptions", "", [error])
            return stream
    listed = ", ".join(f'"{stream}"' for stream in sorted(_STREAMS))
    error = FieldError("stream", "Unsupported value", f"supported values: {listed}", text)
    raise Invalid.of("", "PodLogOptions", "", [error])


def _count(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise BadRequest(f"{name}: {text!r} is not a number") from None
    if number < 0 or (number == 0 and name in ("sinceSeconds", "limitBytes")):
        least = "greater than 0" if number == 0 else "greater than or equal to 0"
        error = FieldError(name, "Invalid value", f"must be {least}", number)
        raise Invalid.of("", "PodLogOptions", "", [error])
    return number
