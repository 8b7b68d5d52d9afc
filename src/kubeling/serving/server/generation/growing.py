"""One text that grows, and who reads it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kubeling.serving.server.errors import GenerationFailed
from kubeling.serving.server.generation.decoding import Decoder, State
from kubeling.serving.server.generation.sampling import Chooser, Chosen, Sampling, told
from kubeling.serving.server.generation.text import TextStream

__all__ = ["AHEAD", "Finish", "Growth", "Piece", "Reader", "Text", "Vocabulary"]

AHEAD: Final = 64
"""Pieces that a reader may leave unread before its texts pause."""
_CONTEXT: Final = 6
_STRETCH: Final = 64
"""Tokens of a prompt whose logits may be there at once; of 512 and a large vocabulary they take
half a gigabyte."""

Finish = Literal["length", "eos", "stop"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the engine knows of a tokenizer."""

    decode: Callable[[Sequence[int]], str]
    ends: frozenset[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token adds to a text; its text may be empty, when the rest of it is to come."""

    index: int
    chosen: Chosen
    text: str
    finish: Finish | None = None
    prompt: Sequence[Chosen] = ()
    """With a text's first piece, how likely its prompt was; of its first token nothing is known."""


class Growth:
    """The pieces of a request's texts as they are made, until each has a ``finish``.

    The texts end when it is closed, or forgotten before anybody read it.
    """

    def __init__(self, reader: Reader, texts: int) -> None:
        self._reader = reader
        self._unfinished = texts

    def __aiter__(self) -> Growth:
        return self

    async def __anext__(self) -> Piece:
        if not self._unfinished:
            raise StopAsyncIteration
        piece = await self._reader.queue.get()
        if isinstance(piece, BaseException):
            await self.aclose()
            raise GenerationFailed(f"{type(piece).__name__}: {piece}") from piece
        self._reader.took()
        self._unfinished -= piece.finish is not None
        return piece

    async def aclose(self) -> None:
        """Ends the texts; the thread sees it before their next token."""
        self._unfinished = 0
        self._reader.leave()

    def __del__(self) -> None:
        self._reader.leave()


class Reader:
    """Who reads the texts of a request, on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: threading.Condition) -> None:
        self.loop = loop
        self._changed = changed
        self.queue: asyncio.Queue[Piece | BaseException] = asyncio.Queue()
        self.unread = 0
        self.gone = False

    def took(self) -> None:
        """A piece was read; a text that paused may go on."""
        with self._changed:
            self.unread -= 1
            if self.unread == AHEAD // 2:
                self._changed.notify()

    def leave(self) -> None:
        """Nobody reads any more."""
        if not self.gone:
            with self._changed:
                self.gone = True
                self._changed.notify()

    def put(self, piece: Piece | BaseException) -> None:
        """Hands over from another thread; a loop that is closed has nobody who reads."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.queue.put_nowait, piece)


class Text:
    """One text that grows."""

    def __init__(
        self, index: int, prompt: Sequence[int], sampling: Sampling, reader: Reader
    ) -> None:
        self._index = index
        self._prompt = prompt
        self._sampling = sampling
        self.reader = reader
        self.failed = False
        self._finish: Finish | None = None
        self._count = 0
        self._begun: tuple[State, Chooser, TextStream] | None = None
        self._told: list[Chosen] = []

    @property
    def over(self) -> bool:
        """Whether no more tokens are wanted."""
        return self._finish is not None or self.failed or self.reader.gone

    @property
    def unread(self) -> int:
        """Tokens that the model has not read."""
        return len(self._prompt) if self._begun is None else self._begun[0].unread

    @property
    def kept(self) -> int:
        """Tokens that something is kept of; metrics ask while the text grows, and may end."""
        begun = self._begun
        return 0 if begun is None else begun[0].kept

    @property
    def every(self) -> bool:
        """Whether the logits after every token count."""
        return self._sampling.prompt_logprobs and len(self._told) + 1 < len(self._prompt)

    @property
    def stretch(self) -> int:
        """Tokens that are read in a step at most."""
        return _STRETCH if self.every else 1 << 62

    def begin(self, torch: Any, decoder: Decoder, vocabulary: Vocabulary) -> State:
        """What the model knows of it, from its first step on."""
        if self._begun is None:
            before = self._prompt[-_CONTEXT:] if decoder.continues else ()
            self._begun = (
                decoder.begin(self._prompt),
                Chooser(torch, self._sampling, self._prompt),
                TextStream(vocabulary.decode, self._sampling.stop, before),
            )
        return self._begun[0]

    def forget(self) -> None:
        """Gives up what is kept; it is read again when its turn comes."""
        if self._begun is not None:
            self._begun[0].forget()

    def see(self, end: int, logits: Any) -> None:
        """Remembers how likely the prompt's tokens were, by the logits after those up to there."""
        begin = end - len(logits)
        known = len(self._told)
        tokens = self._prompt[known + 1 : end + 1]
        rows = logits[known - begin : known - begin + len(tokens)]
        if len(tokens):
            self._told += told(rows, tokens, self._sampling.logprobs or 0)

    def grow(self, logits: Any, vocabulary: Vocabulary) -> Piece:
        """Grows by a token, by the logits after those before it."""
        assert self._begun is not None
        state, chooser, stream = self._begun
        early = self._count < self._sampling.min_tokens
        forbidden = vocabulary.ends if early else frozenset()
        chosen = chooser.choose(logits, sorted(forbidden))
        state.append(chosen.token)
        first = not self._count
        self._count += 1
        text = ""
        if chosen.token in vocabulary.ends and not self._sampling.ignore_eos:
            self._finish = "eos"
        else:
            text = stream.push(chosen.token)
            if chooser.complete:
                self._finish = "eos"
            elif self._count >= self._sampling.max_tokens:
                self._finish = "length"
        if self._finish is not None:
            text += stream.finish()
        if stream.stopped:
            self._finish = "stop"
        if self._finish is not None:
            self._begun = None
        return Piece(self._index, chosen, text, self._finish, self._told if first else ())
