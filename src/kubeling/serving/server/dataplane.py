"""What a request does between an edge (REST or gRPC) and a model, the same for all of them."""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from kubeling.serving.requestlog.record import RequestLog, new_record
from kubeling.serving.server import tensors, tracing
from kubeling.serving.server.errors import (
    InferenceError,
    InvalidInput,
    ModelNotReady,
    ModelRefusal,
    NotSupported,
    ServingError,
)
from kubeling.serving.server.infer_types import (
    InferOutput,
    InferRequest,
    InferResponse,
)
from kubeling.serving.server.metrics import Metrics
from kubeling.serving.server.model import Model
from kubeling.serving.server.pacing import Pacing
from kubeling.serving.server.predictor import current_predictor, predictor_ready
from kubeling.serving.server.quick import QuickModel, is_plain
from kubeling.serving.server.repository import ModelRepository
from kubeling.serving.server.rest_v2 import decode_response

if TYPE_CHECKING:
    from kubeling.serving.server.merging import Merger
    from kubeling.serving.server.sampling import Sampler

__all__ = ["DataPlane", "Verb", "response_of", "serving_error"]

log = logging.getLogger(__name__)

Verb = Literal["predict", "explain"]
_REFUSALS: Final = frozenset(status.value for status in HTTPStatus if status >= 400)

_UNTRACED: Final = contextlib.nullcontext()

Answer = tuple[Any, dict[str, str]]


class DataPlane:
    """Calls models; counts, and records if there is a log. Raises :class:`ServingError` only."""

    def __init__(
        self,
        repository: ModelRepository,
        metrics: Metrics | None = None,
        request_log: RequestLog | None = None,
        sampler: Sampler | None = None,
        merger: Merger | None = None,
    ) -> None:
        self.repository = repository
        self.metrics = metrics or Metrics()
        self.request_log = request_log
        self.sampler = sampler
        self.merger = merger
        self.pacing = Pacing()
        self.traced = False
        """Whether the steps of answering are spans."""

    async def ready(self) -> bool:
        """Whether all models can answer."""
        models = self.repository.get_models().values()
        return all([await model.healthy() for model in models])

    async def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a model can answer, and its predictor too, if that is to be asked."""
        model = self.repository.model(name, version)
        config = current_predictor()
        if config is not None and config.predictor_host and config.predictor_health_check:
            return await predictor_ready(config, name)
        return await model.healthy()

    async def v1(
        self, name: str, verb: Verb, decode: Callable[[], Any], headers: Mapping[str, str]
    ) -> Answer:
        """Answers V1; ``decode`` gives the body, or says what is wrong with it."""
        model = self.repository.model(name)
        started = time.perf_counter()
        body: Any = None
        try:
            await _check_ready(model)
            body = decode()
            answer, given = await self._v1(model, verb, body, headers)
        except ServingError as error:
            self.done(model, error.http_status, started, body, {"error": str(error)}, headers)
            raise
        if isinstance(answer, str | bytes | AsyncIterator):
            # The model's own words, whole or as it finds them.
            self._count(model, 200, started, headers)
            return answer, given
        if self.sampler is not None and verb == "predict":
            self.sampler.saw(body, answer, headers)
        self.done(model, 200, started, body, answer, headers)
        return answer, given

    async def v2(
        self,
        name: str,
        version: str,
        decode: Callable[[], InferRequest],
        headers: Mapping[str, str],
    ) -> tuple[InferResponse, dict[str, str]]:
        """Answers V2; ``decode`` gives the request, or says what is wrong with it."""
        model = self.repository.model(name, version)
        started = time.perf_counter()
        request: InferRequest | None = None
        try:
            await _check_ready(model)
            request = decode()
            request.model_version = self.repository.version_of(name, version) or None
            answer, given = await self._v2(model, request, headers)
        except ServingError as error:
            self.done(model, error.http_status, started, request, {"error": str(error)}, headers)
            raise
        if self.sampler is not None:
            self.sampler.saw(request, answer, headers)
        self.done(model, 200, started, request, answer, headers)
        return answer, given

    async def _v1(self, model: Model, verb: Verb, body: Any, headers: Mapping[str, str]) -> Answer:
        given: dict[str, str] = {}

        async def ask(payload: Any) -> Any:
            found, more = await self._call(model, verb, payload, headers)
            given.update(more)
            if isinstance(found, str | bytes | AsyncIterator):
                return found
            return tensors.to_json(found.to_dict() if isinstance(found, InferResponse) else found)

        if self.merger is None or verb == "explain":
            return await ask(body), given
        from kubeling.serving.server.merging import merged_v1

        return await merged_v1(self.merger, model.name, body, ask), given

    async def _v2(
        self, model: Model, request: InferRequest, headers: Mapping[str, str]
    ) -> tuple[InferResponse, dict[str, str]]:
        given: dict[str, str] = {}

        async def ask(payload: InferRequest) -> InferResponse:
            found, more = await self._call(model, "predict", payload, headers)
            given.update(more)
            return response_of(model, payload, found)

        if self.merger is None:
            return await ask(request), given
        from kubeling.serving.server.merging import merged_v2

        found = await merged_v2(self.merger, model.name, request, ask)
        return response_of(model, request, found), given

    def quick_model(self, name: str) -> QuickModel | None:
        """A model that needs no coroutine to answer."""
        if self.merger is not None:
            return None
        model = self.repository.get_model(name)
        if not isinstance(model, QuickModel) or not model.ready or not is_plain(model):
            return None
        return None if model.enable_latency_logging else model

    def _count(self, model: Model, status: int, started: float, headers: Mapping[str, str]) -> None:
        seconds = time.perf_counter() - started
        self.metrics.request(model.name, status, seconds)
        if model.enable_latency_logging:
            request = headers.get("x-request-id", "N.A.")
            log.info("requestId: %s, model: %s, %.3f ms", request, model.name, 1000 * seconds)

    async def _call(
        self, model: Model, verb: Verb, payload: Any, headers: Mapping[str, str]
    ) -> Answer:
        given: dict[str, str] = {}
        sent = dict(headers)
        if self.traced:
            sent |= tracing.outgoing()
        extra = (given,) if model.required_response_headers else ()
        try:
            prepared = model.validate(await self._stage(model, "preprocess", payload, sent))
            if verb == "explain":
                found = await self._stage(model, "explain", prepared, sent)
            else:
                with tracing.step("predict") if self.traced else _UNTRACED:
                    found = await self.pacing.predict(model, prepared, sent, *extra)
            return await self._stage(model, "postprocess", found, sent, *extra), given
        except ServingError:
            raise
        except Exception as error:
            # A model of one's own may raise anything; the server has to outlive it.
            raise serving_error(model, verb, error) from error

    async def _stage(self, model: Model, stage: str, *arguments: Any) -> Any:
        """Runs a step, and times it where the model has one of its own."""
        step = getattr(model, stage)
        if getattr(type(model), stage) is getattr(Model, stage):
            return await _value(step(*arguments))
        started = time.perf_counter()
        try:
            with tracing.step(stage) if self.traced else _UNTRACED:
                return await _value(step(*arguments))
        finally:
            self.metrics.stage(model.name, stage, time.perf_counter() - started)

    def done(
        self,
        model: Model,
        status: int,
        started: float,
        body: Any,
        answer: Any,
        headers: Mapping[str, str],
    ) -> None:
        """Counts a request that was answered, and records it if there is a log."""
        self._count(model, status, started, headers)
        if self.request_log is not None:
            record = new_record(model.name, status, _plain(body), _plain(answer), headers)
            self.request_log.add(record)


def serving_error(model: Model, verb: Verb, error: BaseException) -> ServingError:
    """What a model raised, as its caller is told of it."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, NotImplementedError):
        return NotSupported(str(error) or f"model {model.name} does not implement {verb}")
    if (status := _status_of(error)) is not None:
        return ModelRefusal(status, getattr(error, "detail", None))
    log.error("%s of model %s failed", verb, model.name, exc_info=error)
    return InferenceError(f"{type(error).__name__}: {error}")


def _status_of(error: BaseException) -> int | None:
    """The status that an ``HTTPException`` asks for; the package it is of need not be here."""
    if not any(base.__name__ == "HTTPException" for base in type(error).__mro__):
        return None
    status = getattr(error, "status_code", None)
    return status if status in _REFUSALS else None


def _plain(value: Any) -> Any:
    """What is recorded of a payload or an answer: nothing of tensors that cannot be read."""
    if not isinstance(value, InferRequest | InferResponse):
        return value
    try:
        return value.to_dict()
    except (ValueError, RecursionError):
        return None


async def _check_ready(model: Model) -> None:
    if not await model.healthy():
        raise ModelNotReady(f"Model with name {model.name} is not ready.")


async def _value(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def response_of(model: Model, request: InferRequest, found: Any) -> InferResponse:
    """What a model answered to V2, in the form of V2, as the request wanted it.

    Raises :class:`ServingError`, :class:`InvalidInput` where it wanted what there is not.
    """
    answer = found if isinstance(found, InferResponse) else _converted(model, found)
    answer.id = request.id or answer.id
    answer.model_name = model.name
    answer.model_version = answer.model_version or request.model_version
    answer.requested_outputs = answer.requested_outputs or request.request_outputs
    answer.use_binary_outputs = answer.use_binary_outputs or request.use_binary_outputs
    if answer.requested_outputs:
        answer.chosen()
    return answer


def _converted(model: Model, found: Any) -> InferResponse:
    """Answers as plain values: V2's own, gRPC's with ``contents``, or V1's predictions."""
    if isinstance(found, dict) and isinstance(found.get("outputs"), list):
        outputs = [_flat(output) for output in found["outputs"]]
        import msgspec

        try:
            return decode_response(msgspec.json.encode({**found, "outputs": outputs}), None)
        except (InvalidInput, TypeError) as error:
            raise InferenceError(f"model {model.name} answered with no tensors: {error}") from error
    values = found.get("predictions") if isinstance(found, dict) else found
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.ndim == 0 or (array.dtype == object and not _texts(array)):
        raise InferenceError(
            f"model {model.name} answered a V2 request with {type(found).__name__}, "
            "not with an InferResponse"
        )
    return InferResponse(None, model.name, [InferOutput.of("output-0", array)])


def _texts(array: Any) -> bool:
    return array.size > 0 and all(isinstance(element, str | bytes) for element in array.ravel())


def _flat(output: Any) -> Any:
    """An output of gRPC's form has its data in ``contents``, under a name for its type."""
    if not isinstance(output, dict):
        return output
    contents = output.get("contents")
    if "data" in output or not isinstance(contents, dict):
        return {**output, "data": tensors.to_json(output.get("data"))}
    data: Any = next(iter(contents.values()), [])
    kept = {key: value for key, value in output.items() if key != "contents"}
    return {**kept, "data": tensors.to_json(data)}
