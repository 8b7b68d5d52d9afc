"""The predictor behind a transformer: where it is, and calls to it over each protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from kubeling.monitoring.tracing import TRACEPARENT, TRACESTATE, Span, current_span
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
from kubeling.serving.server.infer_types import InferRequest, InferResponse
from kubeling.serving.server.rest_v2 import HEADER

__all__ = [
    "PredictorConfig",
    "PredictorProtocol",
    "current_predictor",
    "explain_remotely",
    "predict_remotely",
    "predictor_ready",
    "set_predictor",
]

_READY_SECONDS: Final = 5.0
_OF_ITS_BODY: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "server",
        "transfer-encoding",
        HEADER.lower(),
    }
)
"""Headers of an answer that say nothing of another made from it."""
_REFUSALS: Final[Mapping[int, type[ServingError]]] = {
    error.http_status: error for error in (ModelNotFound, TooLarge, NotSupported, ModelNotReady)
}
_FORWARDED: Final = ("x-request-id", "x-b3-traceid", "authorization", TRACEPARENT, TRACESTATE)
"""Upstream's, and W3C's."""


class PredictorProtocol(Enum):
    """How a predictor is called."""

    REST_V1 = "v1"
    REST_V2 = "v2"
    GRPC_V2 = "grpc-v2"


@dataclass(frozen=True)
class PredictorConfig:
    """The arguments and properties of kserve's class of this name."""

    predictor_host: str | None
    predictor_protocol: str = PredictorProtocol.REST_V1.value
    predictor_use_ssl: bool = False
    predictor_request_timeout_seconds: int = 600
    predictor_request_retries: int = 0
    predictor_health_check: bool = False

    @property
    def predictor_base_url(self) -> str:
        return f"{'https' if self.predictor_use_ssl else 'http'}://{self.predictor_host}"

    @property
    def protocol(self) -> str:
        return self.predictor_protocol

    @property
    def timeout(self) -> int:
        return self.predictor_request_timeout_seconds

    @property
    def retries(self) -> int:
        return self.predictor_request_retries

    @property
    def use_ssl(self) -> bool:
        return self.predictor_use_ssl


_current: list[PredictorConfig] = []


def current_predictor() -> PredictorConfig | None:
    """The predictor of this process, as its command line named it."""
    return _current[-1] if _current else None


def set_predictor(config: PredictorConfig | None) -> None:
    """Sets what :func:`current_predictor` answers."""
    _current[:] = [] if config is None else [config]


async def predict_remotely(
    config: PredictorConfig,
    model: str,
    payload: Any,
    headers: Mapping[str, str],
    response_headers: dict[str, str] | None = None,
) -> Any:
    """Asks the predictor; its refusals are passed on as they are."""
    if config.protocol == PredictorProtocol.GRPC_V2.value:
        from kubeling.serving.server.grpc.client import infer

        return await infer(config, payload, _passed_on(headers))
    if isinstance(payload, InferRequest) and config.protocol == PredictorProtocol.REST_V1.value:
        raise InvalidInput(
            "the predictor speaks v1, but preprocess returned an InferRequest; return "
            '{"instances": …}, or set --predictor_protocol=v2'
        )
    version = "v1" if config.protocol == PredictorProtocol.REST_V1.value else "v2"
    path = f"v1/models/{model}:predict" if version == "v1" else f"v2/models/{model}/infer"
    url = f"{config.predictor_base_url}/{path}"
    body, given = await _post(url, payload, headers, config)
    if response_headers is not None:
        response_headers.update((k, v) for k, v in given.items() if k not in _OF_ITS_BODY)
    if version == "v1":
        return msgspec.json.decode(body)
    length = given.get(HEADER.lower())
    try:
        return InferResponse.from_bytes(body, int(length) if length else None)
    except (InvalidInput, ValueError) as error:
        raise InferenceError(f"{url} answered with something else: {error}") from error


async def predictor_ready(config: PredictorConfig, model: str) -> bool:
    """Whether the predictor says that it can answer."""
    if config.protocol == PredictorProtocol.GRPC_V2.value:
        from kubeling.serving.server.grpc.client import ready

        return await ready(config, model)
    import aiohttp

    version = "v1" if config.protocol == PredictorProtocol.REST_V1.value else "v2"
    path = f"v1/models/{model}" if version == "v1" else f"v2/models/{model}/ready"
    timeout = aiohttp.ClientTimeout(total=_READY_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{config.predictor_base_url}/{path}") as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def explain_remotely(host: str, model: str, payload: Any, headers: Mapping[str, str]) -> Any:
    """Asks the explainer, which speaks V1 only."""
    config = PredictorConfig(host)
    url = f"{config.predictor_base_url}/v1/models/{model}:explain"
    body, _ = await _post(url, payload, headers, config)
    return msgspec.json.decode(body)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in _FORWARDED if name in headers}


async def _post(
    url: str, payload: Any, headers: Mapping[str, str], config: PredictorConfig
) -> tuple[bytes, dict[str, str]]:
    import aiohttp

    sent = _passed_on(headers)
    body: Any = payload
    if isinstance(payload, InferRequest):
        body, length = payload.to_rest()
        if length is not None:
            sent |= {HEADER: str(length), "Content-Type": "application/octet-stream"}
    if not isinstance(body, bytes):
        body = msgspec.json.encode(body)
        sent["Content-Type"] = "application/json"
    timeout = aiohttp.ClientTimeout(total=config.timeout)
    for attempt in range(config.retries + 1):
        asked, status = _asked(config, attempt), 0
        if asked is not None:
            sent |= asked.headers()
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=body, headers=sent) as answer,
            ):
                content, status = await answer.read(), answer.status
                if status >= 400:
                    raise _refusal(url, status, content)
                return content, {name.lower(): value for name, value in answer.headers.items()}
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            if attempt == config.retries:
                why = str(error) or f"no answer within {config.timeout} s"
                raise ModelNotReady(f"the predictor at {url} cannot be reached: {why}") from None
        finally:
            if asked is not None:
                spans.ended(asked, status)
    raise AssertionError("unreachable")


def _asked(config: PredictorConfig, attempt: int) -> Span | None:
    """The span of asking the predictor, if there are to be some."""
    span = current_span.get()
    if span is None:
        return None
    again = {spans.RESENT: attempt} if attempt else {}
    return spans.client_of(span, "POST", config.predictor_host or "", again)


def _refusal(url: str, status: int, content: bytes) -> ServingError:
    try:
        text = msgspec.json.decode(content)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        text = content[:500].decode(errors="replace") or f"status {status}"
    kind = _REFUSALS.get(status, InvalidInput if status < 500 else InferenceError)
    return kind(f"{text} (answered by {url} with {status})")
