"""Spans as the SDK's, given to its exporters. Imported by the thread that sends them, only."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import urllib.parse
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.re import parse_env_headers

from kubeling import __version__
from kubeling.monitoring.tracing.spans import Kind, Span
from kubeling.rpc.calls import Method, RpcError
from kubeling.rpc.client import call
from kubeling.rpc.wire import Message

__all__ = ["SdkOutlet"]

log = logging.getLogger(__name__)

_KINDS: Final = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
}
_SCOPE: Final = InstrumentationScope("kubeling", __version__)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNNAMED: Final = "unknown_service"
_GRPC_SECONDS: Final = 10.0
_GRPC_PORT: Final = 4317
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


class SdkOutlet:
    """Gives spans to the SDK's exporters; over gRPC they go by our own client, without grpcio."""

    def __init__(
        self, exporters: frozenset[str], service: str, endpoint: str = "", *, over_grpc: bool
    ) -> None:
        self._resource = _resource(service)
        self._exporters: list[SpanExporter] = []
        if "console" in exporters:
            self._exporters.append(ConsoleSpanExporter(out=sys.stdout))
        if "otlp" in exporters:
            # What the settings say is no variable of the process, where the SDK would look for it.
            made = _Grpc(endpoint) if over_grpc else OTLPSpanExporter(endpoint or None)
            self._exporters.append(made)
        self._loud = True
        # It has a line for whatever clients write into their tracestate.
        logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)

    def deliver(self, spans: Sequence[Span]) -> bool:
        found = [self._readable(span) for span in spans]
        results = [exporter.export(found) for exporter in self._exporters]
        arrived = all(result is SpanExportResult.SUCCESS for result in results)
        if arrived != self._loud:
            # The SDK says what is wrong with every batch: once is enough.
            level = logging.NOTSET if arrived else logging.CRITICAL
            logging.getLogger("opentelemetry.exporter").setLevel(level)
            self._loud = arrived
        return arrived

    def close(self) -> None:
        for exporter in self._exporters:
            exporter.shutdown()

    def _readable(self, span: Span) -> ReadableSpan:
        trace_id = int(span.trace_id, 16)
        state = TraceState.from_header([span.state]) if span.state else None
        parent = None
        if span.parent_id:
            remote = span.kind is Kind.SERVER
            parent = SpanContext(trace_id, int(span.parent_id, 16), remote, _SAMPLED, state)
        status = Status(StatusCode.ERROR, span.description or None) if span.failed else Status()
        return ReadableSpan(
            span.name,
            SpanContext(trace_id, int(span.span_id, 16), False, _SAMPLED, state),
            parent,
            self._resource,
            span.attributes,
            [Event(name, attributes, at) for name, at, attributes in span.events],
            kind=_KINDS[span.kind],
            status=status,
            start_time=span.started,
            end_time=span.ended,
            instrumentation_scope=_SCOPE,
        )


def _resource(service: str) -> Resource:
    """What the variables say of this process; its name is theirs, if they have one."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        return found.merge(Resource({SERVICE_NAME: service}))
    return found


class _Encoded(Message):
    """A request; it is sent as the bytes that the SDK made of it."""


class _Exported(Message):
    """Says which spans were refused, which nobody can do anything about."""


_EXPORT: Final = Method(
    "opentelemetry.proto.collector.trace.v1.TraceService", "Export", _Encoded, _Exported
)


class _Grpc(SpanExporter):
    """OTLP over gRPC."""

    def __init__(self, endpoint: str) -> None:
        self._url = urllib.parse.urlsplit(endpoint if "//" in endpoint else f"http://{endpoint}")
        given = [os.environ.get(name, "") for name in _HEADERS]
        self._metadata = parse_env_headers(given[0] or given[1], liberal=True)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encoded = encode_spans(spans).SerializeToString()
        try:
            asyncio.run(
                call(
                    self._url.netloc,
                    _EXPORT,
                    encoded,
                    _GRPC_SECONDS,
                    metadata=self._metadata,
                    port=_GRPC_PORT,
                    secure=self._url.scheme == "https",
                )
            )
        except RpcError as error:
            logging.getLogger("opentelemetry.exporter").error("%s", error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Every call has a connection of its own."""
