"""Traces of requests, in OpenTelemetry's terms: recorded here, sent by its SDK.

A model server answers a request in some fifteen microseconds, and recording one span with the SDK
takes as long; so spans are recorded by a few lines of our own, and become the SDK's only in the
thread that sends them. What OpenTelemetry's variables say about where to and how is the SDK's to
know; which requests are recorded at all is decided here, as it is asked for each of them.
"""

from kubeling.monitoring.tracing.context import TRACEPARENT, TRACESTATE, Headers
from kubeling.monitoring.tracing.settings import open_tracer
from kubeling.monitoring.tracing.spans import Kind, Span, Tracer, current_span

__all__ = [
    "TRACEPARENT",
    "TRACESTATE",
    "Headers",
    "Kind",
    "Span",
    "Tracer",
    "current_span",
    "open_tracer",
]
