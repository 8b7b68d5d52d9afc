"""The events of a stream of OpenAI's API, which completions and chats have in common."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import TypeVar

from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.growing import Piece
from kubeling.serving.server.generation.texts import Texts, pieces_of
from kubeling.serving.server.openai.answers import UsageInfo
from kubeling.serving.server.openai.requests import GenerationRequest
from kubeling.serving.server.openai.structs import ApiObject

__all__ = ["events"]

Choice = TypeVar("Choice")


async def events(
    generator: Generator,
    request: GenerationRequest,
    texts: Texts,
    begin: Iterable[Choice],
    grew: Callable[[Sequence[Piece]], Choice],
    chunk: Callable[[list[Choice], UsageInfo | None], ApiObject],
) -> AsyncGenerator[str, None]:
    """The events of a request: its choices as they ``begin``, what they ``grew`` by, and the end.

    A piece without text, as of half a character, goes along with the next one of its text.
    """
    options = request.stream_options
    running = options is not None and options.continuous_usage_stats

    def event(choices: list[Choice], counted: bool) -> str:
        made = chunk(choices, texts.usage if counted else None)
        return f"data: {made.model_dump_json()}\n\n"

    for choice in begin:
        yield event([choice], running)
    held: dict[int, list[Piece]] = {}
    async with contextlib.aclosing(pieces_of(generator, texts)) as pieces:
        async for piece in pieces:
            waiting = held.setdefault(piece.index, [])
            waiting.append(piece)
            if piece.text or piece.finish is not None:
                yield event([grew(waiting)], running)
                waiting.clear()
    if options is not None and options.include_usage:
        yield event([], True)
    yield "data: [DONE]\n\n"
