"""Calls a predictor over gRPC, for transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.monitoring.tracing import current_span
from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.client import call
from kubeling.serving import spans
from kubeling.serving.server.errors import (
    InferenceError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    NotSupported,
    ServingError,
    TooLarge,
)
from kubeling.serving.server.grpc.conversion import request_to, response_from
from kubeling.serving.server.grpc.messages import ModelReadyRequest
from kubeling.serving.server.grpc.methods import MODEL_INFER, MODEL_READY
from kubeling.serving.server.infer_types import InferRequest, InferResponse
from kubeling.serving.server.predictor import PredictorConfig

__all__ = ["infer", "ready"]

_READY_SECONDS: Final = 5.0
_PORTS: Final = {False: 80, True: 443}

_ERRORS: Final[Mapping[Code, type[ServingError]]] = {
    Code.INVALID_ARGUMENT: InvalidInput,
    Code.NOT_FOUND: ModelNotFound,
    Code.UNIMPLEMENTED: NotSupported,
    Code.RESOURCE_EXHAUSTED: TooLarge,
    Code.UNAVAILABLE: ModelNotReady,
    Code.DEADLINE_EXCEEDED: ModelNotReady,
}


async def infer(config: PredictorConfig, payload: Any, headers: Mapping[str, str]) -> InferResponse:
    """Asks the predictor; raises :class:`ServingError` as the predictor did."""
    if not isinstance(payload, InferRequest):
        raise InvalidInput("the predictor speaks gRPC, so preprocess has to return an InferRequest")
    attempts, span = config.retries, current_span.get()
    while True:
        asked, code = None, Code.OK
        if span is not None:
            asked = spans.calling(span, MODEL_INFER.path, config.predictor_host or "", {})
            headers = {**headers, **asked.headers()}
        try:
            answered = await call(
                config.predictor_host or "",
                MODEL_INFER,
                request_to(payload),
                float(config.timeout),
                metadata=headers,
                port=_PORTS[config.use_ssl],
                secure=config.use_ssl,
            )
            return response_from(answered)
        except RpcError as error:
            code = error.code
            if code is not Code.UNAVAILABLE or not attempts:
                kind = _ERRORS.get(error.code, InferenceError)
                raise kind(f"{error} (from the predictor at {config.predictor_host})") from error
            attempts -= 1
        finally:
            if asked is not None:
                spans.call_ended(asked, code.name)


async def ready(config: PredictorConfig, model: str) -> bool:
    """Whether the predictor says that it can answer."""
    host = config.predictor_host or ""
    try:
        found = await call(
            host,
            MODEL_READY,
            ModelReadyRequest(model),
            _READY_SECONDS,
            port=_PORTS[config.use_ssl],
            secure=config.use_ssl,
        )
    except RpcError:
        return False
    return found.ready
