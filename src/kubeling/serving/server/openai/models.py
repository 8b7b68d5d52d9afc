"""The base classes of models that speak OpenAI's API (kserve's protocol/rest/openai)."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from kubeling.serving.server.model import Model
from kubeling.serving.server.openai.answers import (
    ChatCompletion,
    Classification,
    Completion,
    Embedding,
    ErrorResponse,
    Rerank,
)
from kubeling.serving.server.openai.requests import (
    ChatCompletionRequest,
    ClassificationRequest,
    CompletionRequest,
    EmbeddingRequest,
    RerankRequest,
)
from kubeling.serving.server.openai.structs import ApiObject

__all__ = [
    "AsyncMappingIterator",
    "ChatPrompt",
    "OpenAIEncoderModel",
    "OpenAIGenerativeModel",
    "OpenAIModel",
]

T = TypeVar("T")


class ChatPrompt(ApiObject, kw_only=True):
    """A conversation as one text."""

    response_role: str = "assistant"
    prompt: str


class OpenAIModel(Model):
    """A model with pages of OpenAI's API; ready from the start unless it says otherwise.

    The methods are given the request, the HTTP request it came in (with ``headers``), and a context
    with ``headers`` and ``response``, whose ``headers`` become the answer's. They return an answer,
    an :class:`~.answers.ErrorResponse`, or a generator of server-sent events as text.
    """

    speaks_openai = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True


class OpenAIGenerativeModel(OpenAIModel):
    """A model that makes text: override both methods."""

    async def create_completion(
        self,
        request: CompletionRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> AsyncGenerator[str, None] | Completion | ErrorResponse:
        """Goes on with a text."""
        raise NotImplementedError(f"model {self.name} does not implement completions")

    async def create_chat_completion(
        self,
        request: ChatCompletionRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> AsyncGenerator[str, None] | ChatCompletion | ErrorResponse:
        """Goes on with a conversation."""
        raise NotImplementedError(f"model {self.name} does not implement chat completions")


class OpenAIEncoderModel(OpenAIModel):
    """A model that knows how near texts are, or their classes: override what it can."""

    async def create_embedding(
        self,
        request: EmbeddingRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> AsyncGenerator[str, None] | Embedding | ErrorResponse:
        """The vectors of texts."""
        raise NotImplementedError(f"model {self.name} does not implement embeddings")

    async def create_rerank(
        self,
        request: RerankRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> AsyncGenerator[str, None] | Rerank | ErrorResponse:
        """Documents by their relevance."""
        raise NotImplementedError(f"model {self.name} does not implement rerank")

    async def create_classification(
        self,
        request: ClassificationRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> Classification | ErrorResponse:
        """The classes of texts; upstream's base class has no such method, vLLM has the page."""
        raise NotImplementedError(f"model {self.name} does not implement classification")


class AsyncMappingIterator(Generic[T]):
    """What another iterator gives, changed; ``None`` is passed over."""

    def __init__(
        self,
        iterator: AsyncIterator[Any],
        mapper: Callable[[Any], T | None] = lambda item: item,
        skip_none: bool = True,
        close: Callable[[], Any] | None = None,
    ) -> None:
        self.iterator = iterator
        self.mapper = mapper
        self.skip_none = skip_none
        self.close = close

    def __aiter__(self) -> AsyncMappingIterator[T]:
        return self

    async def __anext__(self) -> T | None:
        while True:
            try:
                found = self.mapper(await self.iterator.__anext__())
            except BaseException:
                await self._closed()
                raise
            if found is not None or not self.skip_none:
                return found

    async def _closed(self) -> None:
        found = None if self.close is None else self.close()
        if inspect.isawaitable(found):
            await found
