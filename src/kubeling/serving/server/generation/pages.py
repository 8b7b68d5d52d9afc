"""The generate extension of the Open Inference Protocol (generate_rest.yaml)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Final, Protocol, runtime_checkable

import msgspec
from msgspec import Meta

from kubeling.serving.requestlog.record import new_record
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.errors import (
    InferenceError,
    InvalidInput,
    ModelNotReady,
    NotSupported,
    ServingError,
    Unprocessable,
)
from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.growing import Growth, Piece
from kubeling.serving.server.generation.sampling import Sampling
from kubeling.serving.server.http import Request, Response, StreamedResponse, json_response

__all__ = ["Generates", "generate"]

log = logging.getLogger(__name__)

_FINISH: Final = {"length": "length", "eos": "eos_token", "stop": "stop_sequence"}


@runtime_checkable
class Generates(Protocol):
    """A model that makes text by a generator."""

    generator: Generator


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    """The protocol's parameters, and further ones that it leaves to servers."""

    temperature: Annotated[float, Meta(ge=0)] = 1.0
    top_p: Annotated[float, Meta(ge=0, le=1)] = 1.0
    max_tokens: Annotated[int, Meta(ge=1)] = 20
    stop: list[Annotated[str, Meta(min_length=1)]] = []
    details: bool = False
    seed: int | None = None
    top_k: Annotated[int, Meta(ge=-1)] = 0
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] = 1.0
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0


class GenerateRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A text to go on with."""

    text_input: str
    parameters: Parameters | None = None
    id: str | None = None


async def generate(
    plane: DataPlane, request: Request, name: str, version: str, *, streamed: bool
) -> Response | StreamedResponse:
    """Answers ``generate`` and ``generate_stream``; raises :class:`~..errors.ServingError`."""
    model = plane.repository.model(name, version)
    started = time.perf_counter()

    def done(status: int, answer: Any) -> None:
        plane.metrics.request(name, status, time.perf_counter() - started)
        if plane.request_log is not None:
            body = _plain(request.body)
            plane.request_log.add(new_record(name, status, body, answer, request.headers))

    try:
        if not await model.healthy():
            raise ModelNotReady(f"Model with name {name} is not ready.")
        if not isinstance(model, Generates):
            raise NotSupported(f"model {name} does not implement generate")
        answered = _Answer(model.generator, name, plane.repository.version_of(name, version))
        asked = _decoded(request.body)
        growth, parameters = await _begun(model.generator, asked)
        if streamed:
            events = _events(answered, growth, parameters.details, done)
            return StreamedResponse(events, headers={"cache-control": "no-cache"})
        answer = await _whole(answered, growth, parameters.details)
    except asyncio.CancelledError:
        done(499, None)
        raise
    except ServingError as error:
        done(error.http_status, {"error": str(error)})
        raise
    done(200, answer)
    return json_response(answer)


class _Answer:
    """What every answer says of the model."""

    def __init__(self, generator: Generator, name: str, version: str) -> None:
        self.generator = generator
        self._about = {"model_name": name} | ({"model_version": version} if version else {})

    def of(self, text: str, details: dict[str, Any] | None) -> dict[str, Any]:
        """An answer with a text."""
        found: dict[str, Any] = {"text_output": text, **self._about}
        return found if details is None else {**found, "details": details}

    def token(self, piece: Piece) -> dict[str, Any]:
        """A token as the protocol describes it."""
        token = piece.chosen.token
        return {
            "id": token,
            "text": self.generator.text_of(token),
            "logprob": piece.chosen.logprob,
            "special": self.generator.is_special(token),
        }


async def _begun(generator: Generator, asked: GenerateRequest) -> tuple[Growth, Parameters]:
    parameters = asked.parameters or Parameters()
    try:
        prompt = await generator.tokens(asked.text_input)
        room = generator.room(prompt, parameters.max_tokens)
    except InvalidInput as error:
        raise Unprocessable(str(error)) from error
    sampling = Sampling(
        max_tokens=room,
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        top_k=parameters.top_k,
        repetition_penalty=parameters.repetition_penalty,
        presence_penalty=parameters.presence_penalty,
        frequency_penalty=parameters.frequency_penalty,
        seed=parameters.seed,
        stop=tuple(parameters.stop),
        logprobs=0 if parameters.details else None,
    )
    growth = generator.grow([prompt], [sampling])
    generator.count(len(prompt), 0)
    return growth, parameters


async def _whole(answer: _Answer, growth: Growth, details: bool) -> dict[str, Any]:
    text, tokens, finish = "", [], ""
    async with contextlib.aclosing(growth):
        async for piece in growth:
            answer.generator.count(0, 1)
            text += piece.text
            if details:
                tokens.append(answer.token(piece))
            if piece.finish:
                finish = _FINISH[piece.finish]
    return answer.of(text, {"finish_reason": finish, "logprobs": tokens} if details else None)


async def _events(
    answer: _Answer, growth: Growth, details: bool, done: Callable[[int, Any], None]
) -> AsyncGenerator[bytes, None]:
    status = 499
    try:
        async with contextlib.aclosing(growth):
            async for piece in growth:
                answer.generator.count(0, 1)
                told: dict[str, Any] | None = None
                if details:
                    told = {"token": answer.token(piece)}
                    if piece.finish:
                        told["finish_reason"] = _FINISH[piece.finish]
                elif not piece.text and not piece.finish:
                    continue
                yield _event(answer.of(piece.text, told))
        status = 200
    except InferenceError as error:
        status = error.http_status
        log.error("a stream broke off", exc_info=error)
        yield _event({"error": str(error)})
    finally:
        done(status, None)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _decoded(body: bytes) -> GenerateRequest:
    try:
        return msgspec.json.decode(body, type=GenerateRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unprocessable(f"the body is no request to generate: {error}") from None


def _plain(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
