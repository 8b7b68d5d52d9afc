"""A collector of traces that speaks OTLP over HTTP, as Jaeger, Tempo and OpenTelemetry's do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collected", "Collector", "collecting"]

_KINDS = {1: "internal", 2: "server", 3: "client"}


@dataclass(frozen=True)
class Collected:
    """A span as it arrived."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    failed: bool
    description: str
    attributes: dict[str, Any]
    events: dict[str, dict[str, Any]]
    nanoseconds: int
    resource: dict[str, Any]


class Collector:
    """What arrived, in the order of arrival."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self._spans: list[Collected] = []
        self._more = threading.Condition()

    def take(self, body: bytes) -> None:
        """Keeps the spans of a request."""
        with self._more:
            self._spans += _spans(ExportTraceServiceRequest.FromString(body))
            self._more.notify_all()

    def spans(self, **wanted: Any) -> list[Collected]:
        """Those that arrived so far and have these fields."""
        with self._more:
            return [s for s in self._spans if all(getattr(s, k) == v for k, v in wanted.items())]

    def until(
        self, holds: Callable[[list[Collected]], bool], seconds: float = 60
    ) -> list[Collected]:
        """All spans, once something holds of them; blocks."""
        with self._more:
            if not self._more.wait_for(lambda: holds(self._spans), 60):
                found = "\n".join(map(str, self._spans))
                raise AssertionError(f"these spans arrived, and no more:\n{found}")
            return list(self._spans)


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens until the block is left."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.status == 200 and self.path == "/v1/traces":
                collector.take(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(request: Any) -> list[Collected]:
    found = []
    for of_resource in request.resource_spans:
        resource = _plain(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                found.append(
                    Collected(
                        str(resource["service.name"]),
                        span.name,
                        _KINDS[span.kind],
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.trace_state,
                        span.status.code == 2,
                        span.status.message,
                        _plain(span.attributes),
                        {event.name: _plain(event.attributes) for event in span.events},
                        span.end_time_unix_nano - span.start_time_unix_nano,
                        resource,
                    )
                )
    return found


def _plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
