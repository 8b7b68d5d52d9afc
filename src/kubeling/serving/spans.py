"""How requests to models look in traces: the same names at the gateway, the agent and the servers.

By OpenTelemetry's semantic conventions for HTTP, gRPC and generative models; what is ours alone
begins with ``kubeling.``. A span has nothing of a body, a query or a token.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

from kubeling.monitoring.tracing import Headers, Kind, Span, Tracer

__all__ = [
    "BATCH_REQUESTS",
    "COMPONENT",
    "GRAPH",
    "MODEL",
    "NAMESPACE",
    "PORT",
    "RESENT",
    "REVISION",
    "SERVER",
    "SERVICE",
    "STEP",
    "call_ended",
    "call_of",
    "calling",
    "client_of",
    "ended",
    "request_of",
    "route_of",
    "status_of",
]

NAMESPACE: Final = "kubeling.namespace"
SERVICE: Final = "kubeling.inferenceservice"
REVISION: Final = "kubeling.revision"
COMPONENT: Final = "kubeling.component"
GRAPH: Final = "kubeling.inferencegraph"
STEP: Final = "kubeling.step"
MODEL: Final = "kubeling.model"
BATCH_REQUESTS: Final = "kubeling.batch.requests"

SERVER: Final = "server.address"
PORT: Final = "server.port"
RESENT: Final = "http.request.resend_count"

_METHOD: Final = "http.request.method"
_STATUS: Final = "http.response.status_code"
_REQUEST_ID: Final = "x-request-id"
_RPC_SYSTEM: Final = "rpc.system.name"
_RPC_METHOD: Final = "rpc.method"
_RPC_STATUS: Final = "rpc.response.status_code"
_FAULTS_OF_SERVERS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
_ROUTES: Final = (
    (r"/v1/models/[^/]+:(\w+)", r"/v1/models/{model}:\1"),
    (r"/v1/models/[^/:]+", "/v1/models/{model}"),
    (r"/v2/models/[^/]+", "/v2/models/{model}"),
    (r"/v2/models/[^/]+/(\w+)", r"/v2/models/{model}/\1"),
    (
        r"/v2/models/[^/]+/versions/[^/]+(/\w+)?",
        r"/v2/models/{model}/versions/{version}\1",
    ),
    (r"/v2/repository/models/[^/]+/(\w+)", r"/v2/repository/models/{model}/\1"),
    (r"((?:/openai)?/v1/(?:chat/completions|completions|embeddings|rerank))", r"\1"),
    (r"(/v2|/v2/health/\w+|/v2/repository/index|/metrics|/)", r"\1"),
)
"""Compiled when the first is looked for: a server without traces starts as fast as before."""


@functools.lru_cache(1000)
def route_of(path: str) -> str:
    """What a path is like; nothing for those of containers of one's own."""
    for pattern, route in _ROUTES:
        if found := re.fullmatch(pattern, path):
            return found.expand(route)
    return ""


def request_of(
    tracer: Tracer, method: str, path: str, headers: Headers, more: Mapping[str, Any]
) -> Span:
    """The span of a request over HTTP that came in; ``path`` is without a query."""
    known = method if method in _KNOWN_METHODS else "_OTHER"
    route = route_of(path)
    title = known if known != "_OTHER" else "HTTP"
    span = tracer.request(f"{title} {route}" if route else title, headers)
    if span.sampled:
        span.attributes = {_METHOD: known, "url.path": path, "url.scheme": "http", **more}
        if route:
            span.attributes["http.route"] = route
        if host := headers.get("host"):
            span.attributes[SERVER] = _text(host)
        if found := headers.get(_REQUEST_ID):
            span.attributes[f"http.request.header.{_REQUEST_ID}"] = [_text(found)]
    return span


def client_of(span: Span, method: str, address: str, more: Mapping[str, Any]) -> Span:
    """The span of a request over HTTP that is made to ``host:port`` for another span."""
    made = span.child(method, Kind.CLIENT)
    if made.sampled:
        made.attributes = {_METHOD: method, **_place(address), **more}
    return made


def ended(span: Span, status: int, why: str = "") -> None:
    """Ends the span of a request over HTTP; of a server's only its own faults are errors, and
    answers that were promised whole (a status below 400) and were not, ``why`` ever.
    """
    if not span.sampled:
        return
    if status:
        span.attributes[_STATUS] = status
    if status >= (500 if span.kind is Kind.SERVER else 400):
        span.fail(str(status), why)
    elif not status or (why and status < 400):
        span.fail("_OTHER", why)
    span.end()


def call_of(tracer: Tracer, method: str, headers: Headers, more: Mapping[str, Any]) -> Span:
    """The span of a call over gRPC that came in."""
    title = method.lstrip("/")
    span = tracer.request(title, headers)
    if span.sampled:
        span.attributes = {_RPC_SYSTEM: "grpc", _RPC_METHOD: title, **more}
        if found := headers.get(_REQUEST_ID):
            span.attributes[f"rpc.request.metadata.{_REQUEST_ID}"] = [found]
    return span


def calling(span: Span, method: str, address: str, more: Mapping[str, Any]) -> Span:
    """The span of a call over gRPC that is made to ``host:port`` for another span."""
    title = method.lstrip("/")
    made = span.child(title, Kind.CLIENT)
    if made.sampled:
        made.attributes = {_RPC_SYSTEM: "grpc", _RPC_METHOD: title, **_place(address), **more}
    return made


def call_ended(span: Span, code: str, why: str = "") -> None:
    """Ends the span of a call over gRPC, by the name of its code."""
    if not span.sampled:
        return
    span.attributes[_RPC_STATUS] = code
    if code in _FAULTS_OF_SERVERS or (span.kind is Kind.CLIENT and code != "OK"):
        span.fail(code, why)
    span.end()


def status_of(error: BaseException) -> int:
    """The status that an error is answered with."""
    return int(getattr(error, "http_status", 500))


def _text(said: str) -> str:
    """A header as text that can be sent: aiohttp keeps bytes that are no UTF-8 as surrogates."""
    return said.encode("utf-8", "replace").decode()


def _place(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return {SERVER: address}
    return {SERVER: host.strip("[]"), PORT: int(port)}
