"""The texts that a request of OpenAI's API asks for, completion or chat, by a generator."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.growing import Growth, Piece
from kubeling.serving.server.generation.guides import Guide
from kubeling.serving.server.generation.sampling import Sampling
from kubeling.serving.server.openai.answers import UsageInfo
from kubeling.serving.server.openai.requests import GenerationRequest

__all__ = ["FINISH", "Grown", "Texts", "grown", "pieces_of", "prompts_of", "sampling_of", "started"]

FINISH: Final = {"length": "length", "eos": "stop", "stop": "stop"}


@dataclass(slots=True)
class Texts:
    """The texts of a request: what they began with, and how they come."""

    prompts: Sequence[Sequence[int]]
    each: int
    growth: Growth
    silent: bool = False
    """Whether the one token of each is only made to read the prompt, and not told."""
    made: int = 0

    @property
    def usage(self) -> UsageInfo:
        """The tokens read, those of a prompt once, and made."""
        read = sum(map(len, self.prompts[:: self.each]))
        return UsageInfo(
            prompt_tokens=read, completion_tokens=self.made, total_tokens=read + self.made
        )


@dataclass(slots=True)
class Grown:
    """What a text grew to."""

    text: str = ""
    finish: str | None = None
    pieces: list[Piece] = field(default_factory=list)


async def prompts_of(generator: Generator, prompt: Any, special: bool) -> list[list[int]]:
    """The tokens of each prompt: a text, texts, tokens, or lists of tokens."""
    if prompt is None or prompt == []:
        raise InvalidInput("prompt is required")
    several = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
    # A long list of texts would take long to read before it is refused.
    generator.engine.check_number(len(several))
    found = []
    for one in several:
        if isinstance(one, str):
            found.append(await generator.tokens(one, special))
        elif isinstance(one, list) and one:
            found.append(generator.checked(one))
        else:
            raise InvalidInput("prompt: takes a text, tokens, or a list of one of them")
    return found


def sampling_of(
    request: GenerationRequest, max_tokens: int, logprobs: int | None, index: int
) -> Sampling:
    """What a request says about its text of this index."""
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if not all(stops):
        raise InvalidInput("stop: a stop sequence has at least a character")
    if request.min_tokens > max_tokens:
        raise InvalidInput(f"min_tokens: is {request.min_tokens}, more than max_tokens")
    return Sampling(
        max_tokens=max(max_tokens, 1),
        temperature=_or(request.temperature, 1.0),
        top_p=_or(request.top_p, 1.0),
        top_k=request.top_k or 0,
        min_p=request.min_p or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        repetition_penalty=_or(request.repetition_penalty, 1.0),
        logit_bias=_bias(request.logit_bias),
        seed=None if request.seed is None else request.seed + index,
        stop=tuple(stops),
        ignore_eos=request.ignore_eos,
        min_tokens=request.min_tokens,
        logprobs=logprobs,
    )


def started(
    generator: Generator,
    request: GenerationRequest,
    prompts: Sequence[Sequence[int]],
    max_tokens: int | None,
    logprobs: int | None,
    *,
    prompt_too: bool = False,
    guide: Callable[[], Guide] | None = None,
) -> Texts:
    """Begins the texts of a request, ``n`` for each prompt."""
    if request.stream_options is not None and not request.stream:
        raise InvalidInput("stream_options: is for streams; set stream to true")
    each = request.n or 1
    repeated = [prompt for prompt in prompts for _ in range(each)]
    samplings = [
        replace(
            sampling_of(request, generator.room(prompt, max_tokens), logprobs, index % each),
            prompt_logprobs=prompt_too,
            guide=guide,
        )
        for index, prompt in enumerate(repeated)
    ]
    growth = generator.grow(repeated, samplings)
    return Texts(repeated, each, growth, silent=max_tokens == 0)


async def grown(generator: Generator, texts: Texts) -> list[Grown]:
    """The texts, once all of them have ended."""
    found = [Grown() for _ in texts.prompts]
    async for piece in pieces_of(generator, texts):
        one = found[piece.index]
        one.text += piece.text
        one.finish = FINISH[piece.finish] if piece.finish else None
        one.pieces.append(piece)
    return found


async def pieces_of(generator: Generator, texts: Texts) -> AsyncGenerator[Piece, None]:
    """The pieces of a request's texts, counted; the texts end with the generator."""
    try:
        async with contextlib.aclosing(texts.growth) as growth:
            async for piece in growth:
                texts.made += not texts.silent
                yield piece
    finally:
        generator.count(texts.usage.prompt_tokens, texts.made)


def _bias(given: dict[str, float] | None) -> dict[int, float]:
    try:
        return {int(token): bias for token, bias in (given or {}).items()}
    except ValueError:
        raise InvalidInput("logit_bias: takes numbers of tokens as its keys") from None


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
