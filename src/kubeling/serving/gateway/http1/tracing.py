"""What a request on the short way says for its trace, and for the log if it fails."""

from __future__ import annotations

from typing import Final

from kubeling.monitoring.tracing import Tracer
from kubeling.serving.gateway.failures import Failure, trace_of
from kubeling.serving.gateway.http1.destination import Destination
from kubeling.serving.gateway.http1.request import Request
from kubeling.serving.gateway.passage import Passage

__all__ = ["failure_of", "passage_of"]

_READ: Final = ("traceparent", "tracestate", "x-request-id")


def passage_of(tracer: Tracer, request: Request, where: Destination) -> Passage:
    """The request's way through the gateway."""
    headers = {name: request.header(name.encode()) for name in _READ}
    headers["host"] = request.host
    method = request.method.decode()
    return Passage.of_request(tracer, method, where.target, headers, where.key, where.component)


def failure_of(
    request: Request, where: Destination, status: int, why: str, revision: str
) -> Failure:
    """A request that failed."""
    return Failure(
        where.key,
        f"{request.method.decode()} {where.target.partition('?')[0]}",
        str(status),
        why,
        revision,
        request.header(b"x-request-id"),
        trace_of(request.header(b"traceparent")),
    )
