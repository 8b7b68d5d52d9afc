"""The text-completion page of OpenAI's API by a generator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.generation.forms import guide_of
from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.growing import Piece
from kubeling.serving.server.generation.openai_events import events
from kubeling.serving.server.generation.sampling import Chosen
from kubeling.serving.server.generation.texts import (
    FINISH,
    Texts,
    grown,
    prompts_of,
    started,
)
from kubeling.serving.server.openai.answers import (
    Completion,
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
    guide = await guide_of(generator, request)
    texts = started(
        generator,
        request,
        prompts,
        request.max_tokens,
        request.logprobs,
        prompt_too=bool(request.echo) and request.logprobs is not None,
        guide=guide,
    )
    telling = [_Telling(generator, request, prompt) for prompt in texts.prompts]
    if request.stream:
        return _streamed(generator, request, texts, telling)
    found = await grown(generator, texts)
    return Completion(
        model=request.model,
        choices=[telling[one.pieces[0].index].choice(one.pieces) for one in found],
        usage=texts.usage,
    )


def _refuse(generator: Generator, request: CompletionRequest) -> None:
    if request.suffix:
        raise InvalidInput("suffix: is not supported; the model makes no text between others")
    if request.best_of is not None and request.best_of != (request.n or 1):
        raise InvalidInput("best_of: is not supported; ask for n texts")
    if request.echo and not generator.continues:
        raise InvalidInput("echo: the model's text does not go on where the prompt ends")
    if request.max_tokens == 0 and not request.echo:
        raise InvalidInput("max_tokens: is 0, so there would be no text; ask for 1, or for echo")


class _Telling:
    """A text as it is told, in one piece or several: the prompt first, if it is asked for."""

    def __init__(
        self, generator: Generator, request: CompletionRequest, prompt: Sequence[int]
    ) -> None:
        self._generator = generator
        self._request = request
        self._prompt = prompt if request.echo else ()
        self._offset = 0

    def choice(self, pieces: Sequence[Piece]) -> CompletionChunkChoice:
        """What the text grew by; of a whole text, everything."""
        last = pieces[-1]
        nothing = self._request.max_tokens == 0
        made = [] if nothing else pieces
        text = "".join(piece.text for piece in made)
        likely = None if self._request.logprobs is None else CompletionLogProbs()
        if prompt := self._prompt:
            self._prompt = ()
            tokenizer = self._generator.tokenizer
            text = str(tokenizer.decode(list(prompt), skip_special_tokens=True)) + text
            if likely is not None:
                self._add(likely, Chosen(prompt[0]))
                for chosen in pieces[0].prompt:
                    self._add(likely, chosen)
        if likely is not None:
            for piece in made:
                self._add(likely, piece.chosen)
        finish = last.finish and ("length" if nothing else FINISH[last.finish])
        return CompletionChunkChoice(
            index=last.index, text=text, logprobs=likely, finish_reason=finish
        )

    def _add(self, likely: CompletionLogProbs, chosen: Chosen) -> None:
        token = self._generator.text_of(chosen.token)
        likely.tokens.append(token)
        likely.token_logprobs.append(chosen.logprob)
        likely.text_offset.append(self._offset)
        self._offset += len(token)
        if chosen.logprob is None:
            likely.top_logprobs.append(None)
            return
        best = {self._generator.text_of(other): logprob for other, logprob in chosen.likeliest}
        # The chosen one is always told, as OpenAI does, whether or not it is among them.
        likely.top_logprobs.append({token: chosen.logprob} | best)


def _streamed(
    generator: Generator, request: CompletionRequest, texts: Texts, telling: Sequence[_Telling]
) -> AsyncGenerator[str, None]:
    identity = new_id("cmpl")

    def grew(pieces: Sequence[Piece]) -> CompletionChunkChoice:
        return telling[pieces[0].index].choice(pieces)

    def chunk(choices: list[CompletionChunkChoice], usage: UsageInfo | None) -> CompletionChunk:
        return CompletionChunk(id=identity, model=request.model, choices=choices, usage=usage)

    return events(generator, request, texts, (), grew, chunk)
