"""Conversations by way of completions (kserve's openai_chat_adapter_model.py)."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from typing import Any

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.openai.answers import (
    ChatCompletion,
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatCompletionLogProb,
    ChatCompletionLogProbs,
    ChatCompletionLogProbsContent,
    ChatMessage,
    ChoiceDelta,
    ChunkChoice,
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionLogProbs,
    ErrorResponse,
)
from kubeling.serving.server.openai.models import ChatPrompt, OpenAIGenerativeModel
from kubeling.serving.server.openai.requests import ChatCompletionRequest, CompletionRequest

__all__ = ["OpenAIChatAdapterModel"]

_DONE = "[DONE]"


class OpenAIChatAdapterModel(OpenAIGenerativeModel):
    """A model whose chats are completions of a prompt: override ``create_completion`` as well."""

    def apply_chat_template(self, request: ChatCompletionRequest) -> ChatPrompt:
        """The conversation as one text."""
        raise NotImplementedError(f"model {self.name} does not implement apply_chat_template")

    @classmethod
    def chat_completion_params_to_completion_params(
        cls, request: ChatCompletionRequest, prompt: str
    ) -> CompletionRequest:
        """What a chat asks for, asked of a completion."""
        return CompletionRequest(
            prompt=prompt,
            model=request.model,
            frequency_penalty=request.frequency_penalty,
            logit_bias=request.logit_bias,
            max_tokens=request.max_completion_tokens or request.max_tokens,
            n=request.n,
            presence_penalty=request.presence_penalty,
            seed=request.seed,
            stop=request.stop,
            stream=request.stream,
            stream_options=request.stream_options,
            temperature=request.temperature,
            top_p=request.top_p,
            user=request.user,
            logprobs=request.top_logprobs,
            request_id=request.request_id,
        )

    @classmethod
    def to_choice_logprobs(cls, logprobs: CompletionLogProbs) -> ChatCompletionLogProbs:
        """The likelihoods in the form of chats."""
        found = zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True)
        return ChatCompletionLogProbs(
            content=[
                ChatCompletionLogProbsContent(
                    token=token,
                    bytes=list(token.encode()),
                    logprob=logprob or 0.0,
                    top_logprobs=[
                        ChatCompletionLogProb(token=t, bytes=list(t.encode()), logprob=p)
                        for t, p in (likeliest or {}).items()
                    ],
                )
                for token, logprob, likeliest in found
            ]
        )

    @classmethod
    def to_chat_completion_choice(
        cls, completion_choice: CompletionChoice, role: str
    ) -> ChatCompletionChoice:
        """A completion's text as a message."""
        return ChatCompletionChoice(
            index=completion_choice.index,
            finish_reason=completion_choice.finish_reason,
            logprobs=cls._logprobs_of(completion_choice),
            message=ChatMessage(content=completion_choice.text, role=role),
        )

    @classmethod
    def to_chat_completion_chunk_choice(
        cls, completion_choice: CompletionChoice, role: str
    ) -> ChunkChoice:
        """What a completion grew by, as what a message grew by."""
        return ChunkChoice(
            index=completion_choice.index,
            delta=ChoiceDelta(content=completion_choice.text, role=role),
            finish_reason=completion_choice.finish_reason,
            logprobs=cls._logprobs_of(completion_choice),
        )

    @classmethod
    def completion_to_chat_completion(cls, completion: Completion, role: str) -> ChatCompletion:
        """A completion in the form of chats."""
        return ChatCompletion(
            id=completion.id,
            choices=[cls.to_chat_completion_choice(c, role) for c in completion.choices],
            created=completion.created,
            model=completion.model,
            system_fingerprint=completion.system_fingerprint,
            usage=completion.usage,
        )

    @classmethod
    def completion_to_chat_completion_chunk(
        cls, completion: Completion | CompletionChunk, role: str
    ) -> ChatCompletionChunk:
        """A piece of a completion in the form of chats."""
        return ChatCompletionChunk(
            id=completion.id,
            choices=[cls.to_chat_completion_chunk_choice(c, role) for c in completion.choices],
            created=completion.created,
            model=completion.model,
            system_fingerprint=completion.system_fingerprint,
            usage=completion.usage,
        )

    async def create_chat_completion(
        self,
        request: ChatCompletionRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> AsyncGenerator[str, None] | ChatCompletion | ErrorResponse:
        if request.n != 1:
            raise InvalidInput("n != 1 is not supported")
        prompt: Any = self.apply_chat_template(request)
        if inspect.isawaitable(prompt):
            prompt = await prompt
        asked = self.chat_completion_params_to_completion_params(request, prompt.prompt)
        found = await self.create_completion(asked, raw_request)
        if isinstance(found, ErrorResponse):
            return found
        if isinstance(found, Completion):
            return self.completion_to_chat_completion(found, prompt.response_role)
        return self._in_chunks(found, prompt.response_role)

    async def _in_chunks(
        self, events: AsyncGenerator[str, None], role: str
    ) -> AsyncGenerator[str, None]:
        try:
            async for event in events:
                text = event.removeprefix("data: ").strip()
                if text == _DONE:
                    break
                if text.startswith('{"error"'):
                    yield event
                    continue
                piece = CompletionChunk.model_validate_json(text)
                chunk = self.completion_to_chat_completion_chunk(piece, role)
                yield f"data: {chunk.model_dump_json()}\n\n"
            yield f"data: {_DONE}\n\n"
        finally:
            await events.aclose()

    @classmethod
    def _logprobs_of(cls, choice: CompletionChoice) -> ChatCompletionLogProbs | None:
        return None if choice.logprobs is None else cls.to_choice_logprobs(choice.logprobs)
