"""The text-completion page of OpenAI's API by a generator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.growing import Piece
from kubeling.serving.server.generation.openai_events import events
from kubeling.serving.server.generation.texts import (
    FINISH,
    Texts,
    grown,
    prompts_of,
    started,
)
from kubeling.serving.server.openai.answers import (
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkChoice,
    CompletionLogProbs,
    UsageInfo,
    new_id,
)
from kubeling.serving.server.openai.requests import CompletionRequest

__all__ = ["create_completion"]


async def create_completion(
    generator: Generator, request: CompletionRequest
) -> Completion | AsyncGenerator[str, None]:
    """Answers a request; raises :class:`~..errors.ServingError` before anything is made."""
    _refuse(generator, request)
    prompts = await prompts_of(generator, request.prompt, request.add_special_tokens)
    texts = started(generator, request, prompts, request.max_tokens, request.logprobs)
    shown = [_echo(generator, prompt) if request.echo else "" for prompt in texts.prompts]
    if request.stream:
        return _streamed(generator, request, texts, shown)
    found = await grown(generator, texts)
    return Completion(
        model=request.model,
        choices=[
            CompletionChoice(
                index=index,
                text=shown[index] + one.text,
                logprobs=_logprobs(generator, request, one.pieces),
                finish_reason=one.finish,
            )
            for index, one in enumerate(found)
        ],
        usage=texts.usage,
    )


def _refuse(generator: Generator, request: CompletionRequest) -> None:
    if request.suffix:
        raise InvalidInput("suffix: is not supported; the model makes no text between others")
    if request.best_of is not None and request.best_of != (request.n or 1):
        raise InvalidInput("best_of: is not supported; ask for n texts")
    if request.echo and not generator.continues:
        raise InvalidInput("echo: the model's text does not go on where the prompt ends")
    if request.echo and request.logprobs is not None:
        raise InvalidInput("logprobs: those of the prompt are not known; leave echo out")


def _echo(generator: Generator, prompt: Sequence[int]) -> str:
    return str(generator.tokenizer.decode(list(prompt), skip_special_tokens=True))


def _streamed(
    generator: Generator, request: CompletionRequest, texts: Texts, shown: Sequence[str]
) -> AsyncGenerator[str, None]:
    identity = new_id("cmpl")

    def grew(pieces: Sequence[Piece]) -> CompletionChunkChoice:
        last = pieces[-1]
        return CompletionChunkChoice(
            index=last.index,
            text=last.text,
            logprobs=_logprobs(generator, request, pieces),
            finish_reason=FINISH[last.finish] if last.finish else None,
        )

    def chunk(choices: list[CompletionChunkChoice], usage: UsageInfo | None) -> CompletionChunk:
        return CompletionChunk(id=identity, model=request.model, choices=choices, usage=usage)

    begin = (
        CompletionChunkChoice(index=index, text=text) for index, text in enumerate(shown) if text
    )
    return events(generator, request, texts, begin, grew, chunk)


def _logprobs(
    generator: Generator, request: CompletionRequest, pieces: Sequence[Piece]
) -> CompletionLogProbs | None:
    if request.logprobs is None:
        return None
    found, offset = CompletionLogProbs(), 0
    for piece in pieces:
        token = generator.text_of(piece.chosen.token)
        found.tokens.append(token)
        found.token_logprobs.append(piece.chosen.logprob)
        found.top_logprobs.append(
            {generator.text_of(likely): logprob for likely, logprob in piece.chosen.likeliest}
        )
        found.text_offset.append(offset)
        offset += len(token)
    return found
