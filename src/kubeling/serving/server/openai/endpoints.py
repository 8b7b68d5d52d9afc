"""OpenAI's pages over the models of a server (kserve's protocol/rest/openai/endpoints.py)."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from kubeling.serving.requestlog.record import new_record
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.errors import InvalidInput, ModelNotFound, ModelNotReady
from kubeling.serving.server.http import Request, Response, StreamedResponse
from kubeling.serving.server.openai import answers
from kubeling.serving.server.openai.answers import ErrorResponse
from kubeling.serving.server.openai.errors import create_error_response, error_of
from kubeling.serving.server.openai.models import (
    OpenAIEncoderModel,
    OpenAIGenerativeModel,
    OpenAIModel,
)
from kubeling.serving.server.openai.paths import CLASSIFY
from kubeling.serving.server.openai.requests import (
    ChatCompletionRequest,
    ClassificationRequest,
    CompletionRequest,
    EmbeddingRequest,
    RerankRequest,
)
from kubeling.serving.server.openai.tracing import asked_of, tell_usage

__all__ = ["OpenAIPages"]

log = logging.getLogger(__name__)

Asked = (
    CompletionRequest
    | ChatCompletionRequest
    | EmbeddingRequest
    | RerankRequest
    | ClassificationRequest
)

_KINDS: Final[Mapping[str, tuple[type[Asked], type[OpenAIModel], str, str]]] = {
    "completions": (
        CompletionRequest,
        OpenAIGenerativeModel,
        "create_completion",
        "Completions",
    ),
    "chat/completions": (
        ChatCompletionRequest,
        OpenAIGenerativeModel,
        "create_chat_completion",
        "Chat Completion",
    ),
    "embeddings": (EmbeddingRequest, OpenAIEncoderModel, "create_embedding", "Embeddings"),
    "rerank": (RerankRequest, OpenAIEncoderModel, "create_rerank", "Rerank"),
    CLASSIFY: (
        ClassificationRequest,
        OpenAIEncoderModel,
        "create_classification",
        "Classification",
    ),
}
"""By page: the request, the model that answers it, its method, and upstream's name of it."""

_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`")


class ResponseContext:
    """What a model may add to its answer."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


class OpenAIPages:
    """Answers below ``…/v1/``; nothing is raised, errors have OpenAI's shape."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._started = int(time.time())

    @property
    def models(self) -> list[answers.Model]:
        """The models that have such pages."""
        found = self._plane.repository.get_models().items()
        return [self._card(name) for name, model in found if isinstance(model, OpenAIModel)]

    async def __call__(self, request: Request, page: str) -> Response | StreamedResponse:
        """Answers ``page``, what follows ``v1/``."""
        try:
            if page in _KINDS:
                return await self._create(request, page)
            return self._show(request, page)
        except Exception as error:
            return _refusal(error_of(error, getattr(error, "param", None)))

    def _show(self, request: Request, page: str) -> Response:
        if page != "models" and not page.startswith("models/"):
            raise ModelNotFound(f"there is nothing at {request.path}")
        if request.method not in ("GET", "HEAD"):
            return _not_allowed(request, "GET")
        if page == "models":
            return _json(answers.ModelList(data=self.models))
        name = page.removeprefix("models/")
        if not isinstance(self._plane.repository.model(name), OpenAIModel):
            raise ModelNotFound(f"Model with name {name} does not exist.")
        return _json(self._card(name))

    def _card(self, name: str) -> answers.Model:
        return answers.Model(id=name, created=self._started)

    async def _create(self, request: Request, page: str) -> Response | StreamedResponse:
        if request.method != "POST":
            return _not_allowed(request, "POST")
        kind, wanted, method, title = _KINDS[page]
        asked = _decoded(request.body, kind)
        if not asked.model and len(self.models) == 1:
            # vLLM's own page may leave it out.
            asked = msgspec.structs.replace(asked, model=self.models[0].id)
        model = self._plane.repository.model(asked.model)
        counting = _Counting(self._plane, request, asked)
        span = asked_of(page, asked.model)
        try:
            if not await model.healthy():
                raise ModelNotReady(f"Model with name {asked.model} is not ready.")
            if not isinstance(model, wanted):
                raise InvalidInput(f"Model {asked.model} does not support {title} API")
            given = ResponseContext()
            context = {"headers": request.headers, "response": given}
            found = await getattr(model, method)(
                request=asked, raw_request=request, context=context
            )
        except asyncio.CancelledError:
            counting.done(499, None)
            raise
        except Exception as error:
            refused = error_of(error, getattr(error, "param", None))
            if refused.error.code == "500":
                log.error("%s of model %s failed", page, asked.model, exc_info=error)
            found = refused
        if isinstance(found, ErrorResponse):
            counting.done(int(found.error.code or 500), found)
            return _refusal(found)
        if isinstance(found, AsyncIterator):
            headers = {"cache-control": "no-cache", **given.headers}
            return StreamedResponse(_events(found, counting), headers=headers)
        counting.done(200, found)
        if span is not None:
            tell_usage(span, found)
        return _json(found, headers=given.headers)


class _Counting:
    """Counts and records a request, once it is answered."""

    def __init__(self, plane: DataPlane, request: Request, asked: Asked) -> None:
        self._plane = plane
        self._request = request
        self._asked = asked
        self._started = time.perf_counter()

    def done(self, status: int, answer: Any) -> None:
        """The request is answered; a stream's answer is not recorded."""
        name = self._asked.model
        self._plane.metrics.request(name, status, time.perf_counter() - self._started)
        if self._plane.request_log is None:
            return
        body = msgspec.json.decode(self._request.body)
        plain = None if answer is None else msgspec.to_builtins(answer)
        headers = self._request.headers
        self._plane.request_log.add(new_record(name, status, body, plain, headers))


async def _events(
    found: AsyncIterator[str | bytes], counting: _Counting
) -> AsyncGenerator[bytes, None]:
    """A model's events as bytes; the last one may be what went wrong."""
    status = 499
    try:
        async for event in found:
            yield event.encode() if isinstance(event, str) else event
        status = 200
    except Exception as error:
        refused = error_of(error)
        status = int(refused.error.code or 500)
        log.error("a stream of model %s broke off", counting._asked.model, exc_info=error)
        yield f"data: {refused.model_dump_json()}\n\n".encode()
        yield b"data: [DONE]\n\n"
    finally:
        if isinstance(found, AsyncGenerator):
            await found.aclose()
        counting.done(status, None)


class _BadField(InvalidInput):
    """A field is wrong."""

    def __init__(self, reason: str, param: str) -> None:
        super().__init__(reason)
        self.param = param


def _decoded(body: bytes, kind: type[Asked]) -> Asked:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        text = str(error)
        if unknown := _UNKNOWN.search(text):
            raise _BadField(
                f"Unrecognized request argument supplied: {unknown[1]}", unknown[1]
            ) from None
        place = _PLACE.search(text)
        param = place[1] if place else ""
        told = _PLACE.sub("", text)
        raise _BadField(f"{param}: {told}" if param else told, param) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from None


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    encoded = value if isinstance(value, bytes) else _encoded(value)
    return Response(encoded, status, headers=headers or {})


def _encoded(value: Any) -> bytes:
    # A model of one's own may answer with Pydantic's models, as upstream's do.
    if not isinstance(value, msgspec.Struct) and hasattr(value, "model_dump_json"):
        return str(value.model_dump_json()).encode()
    return msgspec.json.encode(value)


def _refusal(error: ErrorResponse) -> Response:
    return _json(error, int(error.error.code or 500))


def _not_allowed(request: Request, method: str) -> Response:
    text = f"{request.path} takes {method}, not {request.method}"
    error = create_error_response(text, "MethodNotAllowedError", None, 405)
    return _json(error, 405, {"allow": method})
