"""Spans of calls over gRPC."""

from __future__ import annotations

from typing import Any

from kubeling.monitoring.tracing import Tracer, current_span
from kubeling.rpc.calls import Method, RpcError
from kubeling.rpc.server import Handler, metadata
from kubeling.serving import spans

__all__ = ["traced_call"]


def traced_call(method: Method[Any, Any], handler: Handler, tracer: Tracer) -> Handler:
    """Answers a call of gRPC as the handler does, within a span."""

    async def answer(asked: Any) -> Any:
        span = spans.call_of(tracer, method.path, metadata(), {})
        token = current_span.set(span)
        try:
            found = await handler(asked)
        except RpcError as error:
            spans.call_ended(span, error.code.name)
            raise
        except BaseException as error:
            spans.call_ended(span, "UNKNOWN" if isinstance(error, Exception) else "CANCELLED")
            raise
        finally:
            current_span.reset(token)
        spans.call_ended(span, "OK")
        return found

    return answer
