"""The thread in which texts grow, token by token, in turns.

Upstream's server runs one request of a transformers model after another, from a queue without an
end (generative_model.py). Here some texts grow at once, a token each in turn, so that a short
answer does not wait for a long one; some wait; more are refused (429). A text whose reader is slow
pauses, one whose reader went away ends before its next token.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kubeling.serving.server.errors import (
    GenerationFailed,
    InvalidInput,
    ModelNotReady,
    Overloaded,
)
from kubeling.serving.server.generation.decoding import Decoder
from kubeling.serving.server.generation.limits import Limits
from kubeling.serving.server.generation.sampling import Chooser, Chosen, Sampling
from kubeling.serving.server.generation.text import TextStream

__all__ = ["Engine", "Finish", "Growth", "Piece", "Vocabulary"]

log = logging.getLogger(__name__)

_AHEAD: Final = 64
_CONTEXT: Final = 6

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


class Engine:
    """Grows texts. ``grow`` is called on an event loop; everything else happens in the thread."""

    def __init__(
        self,
        torch: Any,
        decoder: Decoder,
        vocabulary: Vocabulary,
        limits: Limits | None = None,
        threads: int = 1,
    ) -> None:
        self._torch = torch
        self._decoder = decoder
        self._vocabulary = vocabulary
        self._limits = limits or Limits()
        self._threads = threads
        self._changed = threading.Condition()
        self._waiting: deque[_Text] = deque()
        self._growing: list[_Text] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    def grow(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> Growth:
        """Begins a text for each prompt; raises :class:`~..errors.ServingError`."""
        self.check_number(len(prompts))
        most = self._limits.growing + self._limits.waiting
        reader = _Reader(asyncio.get_running_loop(), self._changed)
        texts = [
            _Text(index, prompt, sampling, reader)
            for index, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True))
        ]
        with self._changed:
            if self._closed:
                raise ModelNotReady("the model was unloaded")
            # Those whose reader went away keep nobody out.
            self._growing = [text for text in self._growing if not text.over]
            self._waiting = deque(text for text in self._waiting if not text.over)
            if len(self._growing) + len(self._waiting) + len(texts) > most:
                raise Overloaded(
                    f"{len(self._growing)} texts are being made and {len(self._waiting)} wait; "
                    "try again later"
                )
            self._waiting.extend(texts)
            self._changed.notify()
        return Growth(reader, len(texts))

    def check_number(self, texts: int) -> None:
        """Refuses a request for more texts than there ever are at once."""
        most = self._limits.growing + self._limits.waiting
        if texts > most:
            raise InvalidInput(f"a request has at most {most} texts here, not {texts}")

    @property
    def growing(self) -> int:
        """How many texts grow."""
        with self._changed:
            return sum(not text.over for text in self._growing)

    @property
    def waiting(self) -> int:
        """How many texts wait for another one's end."""
        with self._changed:
            return sum(not text.over for text in self._waiting)

    def close(self) -> None:
        """Ends all texts; the thread ends after the step it is at, and before the process."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        # A step may take long, and whoever unloads a model does so on the event loop.
        atexit.register(self._thread.join)

    def _run(self) -> None:
        self._torch.set_num_threads(self._threads)
        with self._torch.inference_mode():
            while (turn := self._turn()) is not None:
                for text in turn:
                    self._advance(text)

    def _turn(self) -> list[_Text] | None:
        """The texts whose turn it is, once there are any; ``None`` at the end."""
        with self._changed:
            while not self._closed:
                self._growing = [text for text in self._growing if not text.over]
                while self._waiting and len(self._growing) < self._limits.growing:
                    text = self._waiting.popleft()
                    if not text.over:
                        self._growing.append(text)
                if turn := [text for text in self._growing if text.reader.unread < _AHEAD]:
                    return turn
                self._changed.wait()
            left, self._growing, self._waiting = [*self._growing, *self._waiting], [], deque()
        for text in left:
            text.reader.put(RuntimeError("the model was unloaded"))
        return None

    def _advance(self, text: _Text) -> None:
        if text.over:
            return
        try:
            piece = text.next(self._torch, self._decoder, self._vocabulary)
        except Exception as error:
            # One request's trouble is that caller's to know; the others go on.
            log.exception("generating failed")
            text.failed = True
            text.reader.put(error)
            return
        with self._changed:
            text.reader.unread += 1
        text.reader.put(piece)


class Growth:
    """The pieces of a request's texts as they are made, until each has a ``finish``.

    The texts end when it is closed, or forgotten before anybody read it.
    """

    def __init__(self, reader: _Reader, texts: int) -> None:
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


class _Reader:
    """Who reads the texts of a request, on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: threading.Condition) -> None:
        self._loop = loop
        self._changed = changed
        self.queue: asyncio.Queue[Piece | BaseException] = asyncio.Queue()
        self.unread = 0
        self.gone = False

    def took(self) -> None:
        """A piece was read; a text that paused may go on."""
        with self._changed:
            self.unread -= 1
            if self.unread == _AHEAD // 2:
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
            self._loop.call_soon_threadsafe(self.queue.put_nowait, piece)


class _Text:
    """One text that grows."""

    def __init__(
        self, index: int, prompt: Sequence[int], sampling: Sampling, reader: _Reader
    ) -> None:
        self._index = index
        self._prompt = prompt
        self._sampling = sampling
        self.reader = reader
        self.failed = False
        self._finish: Finish | None = None
        self._count = 0
        self._last: int | None = None
        self._begun: tuple[Any, Chooser, TextStream] | None = None

    @property
    def over(self) -> bool:
        """Whether no more tokens are wanted."""
        return self._finish is not None or self.failed or self.reader.gone

    def next(self, torch: Any, decoder: Decoder, vocabulary: Vocabulary) -> Piece:
        """Grows by a token."""
        if self._begun is None:
            before = self._prompt[-_CONTEXT:] if decoder.continues else ()
            self._begun = (
                decoder.begin(self._prompt),
                Chooser(torch, self._sampling, self._prompt),
                TextStream(vocabulary.decode, self._sampling.stop, before),
            )
        state, chooser, stream = self._begun
        early = self._count < self._sampling.min_tokens
        forbidden = vocabulary.ends if early else frozenset()
        chosen = chooser.choose(state.logits(self._last), sorted(forbidden))
        self._last = chosen.token
        self._count += 1
        text = ""
        if chosen.token in vocabulary.ends and not self._sampling.ignore_eos:
            self._finish = "eos"
        else:
            text = stream.push(chosen.token)
            if self._count >= self._sampling.max_tokens:
                self._finish = "length"
        if self._finish is not None:
            text += stream.finish()
        if stream.stopped:
            self._finish = "stop"
        if self._finish is not None:
            self._begun = None
        return Piece(self._index, chosen, text, self._finish)
