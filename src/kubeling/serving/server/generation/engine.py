"""The thread in which texts grow, token by token, together.

Upstream's server runs one request of a transformers model after another, from a queue without an
end (generative_model.py). Here some texts grow at once, a token each in a step, so that a short
answer does not wait for a long one; some wait; more are refused (429). A text whose reader is slow
pauses, one whose reader went away ends before its next token. What a step holds is said in
:mod:`.scheduling`; whether it reads several texts at once, or one after another, by the decoder.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kubeling.serving.server.errors import InvalidInput, ModelNotReady, Overloaded
from kubeling.serving.server.generation.decoding import Decoder, Part
from kubeling.serving.server.generation.growing import (
    AHEAD,
    Growth,
    Piece,
    Reader,
    Text,
    Vocabulary,
)
from kubeling.serving.server.generation.limits import Limits
from kubeling.serving.server.generation.sampling import Sampling
from kubeling.serving.server.generation.scheduling import Pace, fits, parts, to_give_up

__all__ = ["Engine"]

log = logging.getLogger(__name__)

_NO_LIMIT: Final = 1 << 62

Step = Sequence[tuple[Text, int]]


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
        self._pace = Pace(self._limits.step)
        self._changed = threading.Condition()
        self._waiting: deque[Text] = deque()
        self._growing: list[Text] = []
        self._closed = self._ended = False
        self.preemptions = 0
        """How often a text waited again, as the memory was full."""
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    @property
    def together(self) -> bool:
        """Whether a step reads several texts."""
        return self._decoder.together

    @property
    def memory(self) -> int:
        """How many tokens something can be kept of."""
        each = self._decoder.token_bytes
        return self._limits.memory // each if each else _NO_LIMIT

    def grow(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> Growth:
        """Begins a text for each prompt; raises :class:`~..errors.ServingError`."""
        self.check_number(len(prompts))
        most = self._limits.growing + self._limits.waiting
        reader = Reader(asyncio.get_running_loop(), self._changed)
        texts = [
            Text(index, prompt, sampling, reader)
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

    @property
    def fullness(self) -> float:
        """The share of the memory that is used."""
        with self._changed:
            return sum(text.kept for text in self._growing) / self.memory

    def close(self) -> None:
        """Takes no more texts; the thread ends with the last one, or before the process does."""
        with self._changed:
            if self._closed:
                return
            # A text may take long, and whoever unloads a model does so on the event loop.
            atexit.register(self._end)
            self._closed = True
            self._changed.notify()

    def _end(self) -> None:
        """Ends all texts, after the step they are at."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._torch.set_num_threads(self._threads)
            with self._torch.inference_mode():
                while self._grow_on():
                    pass
        finally:
            self._leave_nobody_waiting()
            atexit.unregister(self._end)

    def _grow_on(self) -> bool:
        """Makes a step, once there is one to make; says whether there may be others."""
        step = self._next()
        # What reads one text after another hands over each token at once.
        pieces = [step] if self._decoder.together else [[one] for one in step]
        for piece in pieces:
            self._advance([(text, count) for text, count in piece if not text.over])
        return bool(step)

    def _next(self) -> Step:
        """The texts of the next step, once there are any; none at the end."""
        with self._changed:
            while not self._ended:
                self._admit()
                if step := self._step():
                    return step
                if self._closed and not self._growing and not self._waiting:
                    break
                self._changed.wait()
        return ()

    def _leave_nobody_waiting(self) -> None:
        with self._changed:
            self._closed = True
            left, self._growing, self._waiting = [*self._growing, *self._waiting], [], deque()
        for text in left:
            text.reader.put(RuntimeError("the model was unloaded"))

    def _admit(self) -> None:
        self._growing = [text for text in self._growing if not text.over]
        while self._waiting and len(self._read_by_somebody()) < self._limits.growing:
            text = self._waiting[0]
            if not text.over and not fits(self._growing, text, self.memory):
                return
            self._waiting.popleft()
            if not text.over:
                self._growing.append(text)

    def _read_by_somebody(self) -> list[Text]:
        """Those that do not pause; one that does keeps its memory, and takes nobody's turn."""
        return [text for text in self._growing if text.reader.unread < AHEAD]

    def _step(self) -> Step:
        while True:
            turn = self._read_by_somebody()[: self._limits.growing]
            step = parts(turn, self._pace, self._limits.step)
            text = to_give_up(self._growing, step, self.memory)
            if text is None:
                return step
            self.preemptions += 1
            text.forget()
            self._growing.remove(text)
            self._waiting.appendleft(text)

    def _advance(self, step: Step) -> None:
        begun: list[tuple[Text, Part]] = []
        for text, count in step:
            with self._failing(text):
                state = text.begin(self._torch, self._decoder, self._vocabulary)
                begun.append((text, Part(state, count, text.every)))
        started = time.perf_counter()
        grown = self._read(begun)
        read = sum(count for _, count in step if count > 1)
        self._pace.took(read, time.perf_counter() - started)
        self._hand_over(grown)

    def _read(self, begun: Sequence[tuple[Text, Part]]) -> list[tuple[Text, Piece]]:
        if not begun:
            return []
        try:
            found = self._decoder.read([part for _, part in begun])
        except BaseException:
            if len(begun) > 1:
                # Nobody knows whose trouble it is, so each is tried by itself.
                return [piece for one in begun for piece in self._read([one])]
            for text, _ in begun:
                with self._failing(text):
                    raise
            return []
        grown = []
        for (text, part), logits in zip(begun, found, strict=True):
            with self._failing(text):
                if part.every:
                    text.see(text.kept, logits)
                if not text.unread:
                    last = logits[-1] if part.every else logits
                    grown.append((text, text.grow(last, self._vocabulary)))
        return grown

    @contextlib.contextmanager
    def _failing(self, text: Text) -> Iterator[None]:
        """One request's trouble is that caller's to know; the others go on.

        A panic in Rust, as tokenizers and grammars have it, is no ``Exception``.
        """
        try:
            yield
        except BaseException as error:
            log.exception("generating failed")
            text.failed = True
            text.reader.put(error)

    def _hand_over(self, grown: Sequence[tuple[Text, Piece]]) -> None:
        """Gives the pieces of a step to their readers; an event loop is woken up once."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Reader, Piece]]] = {}
        with self._changed:
            for text, piece in grown:
                text.reader.unread += 1
                by_loop.setdefault(text.reader.loop, []).append((text.reader, piece))
        for loop, pieces in by_loop.items():
            # A loop that is closed has nobody who reads.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_put, pieces)


def _put(pieces: Sequence[tuple[Reader, Piece]]) -> None:
    for reader, piece in pieces:
        reader.queue.put_nowait(piece)
