"""Watches something to its end, and asks what ctrl-C is meant to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import click

from kubeling.cli.running.keys import Keys

__all__ = ["Watch"]

_INTERVAL: Final = 0.25
_SHARE: Final = 8
"""Of the time, at most one part in so many goes into reading and drawing."""


class _Reading(Protocol):
    @property
    def final(self) -> bool: ...


R = TypeVar("R", bound=_Reading)
T = TypeVar("T", contravariant=True)


class _View(Protocol[T]):
    """What shows the readings."""

    @property
    def is_live(self) -> bool: ...

    def shown(self) -> AbstractContextManager[Any]: ...

    def say(self, text: str, style: str = "") -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def update(self, reading: T) -> None: ...


class Watch(Generic[R]):
    """Reads how far it is, again and again, until it has ended or the user leaves.

    ``noun`` is what the question on ctrl-C calls it; ``at`` is called with each reading but the
    last.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[R]],
        stop: Callable[[], Awaitable[None]],
        view: _View[R],
        noun: str,
        at: Callable[[R], Awaitable[None]] | None = None,
    ) -> None:
        self._read = read
        self._stop = stop
        self._view = view
        self._noun = noun
        self._at = at
        self._interrupted = asyncio.Event()
        self._keys = Keys(lambda key: None)

    async def run(self, pressed: Callable[[str], None] | None = None) -> R | None:
        """The last reading; ``None`` if the user leaves it to itself."""
        self._keys = Keys(pressed or (lambda key: None))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted.set)
        try:
            with self._view.shown():
                if self._view.is_live:
                    self._keys.listen()
                return await self._until_end()
        finally:
            self._keys.stop()
            loop.remove_signal_handler(signal.SIGINT)

    async def _until_end(self) -> R | None:
        lost = False
        while True:
            began = time.perf_counter()
            try:
                reading = await self._read()
            except (ConnectionError, TimeoutError):
                # The platform restarts: what is watched goes on with it.
                if not lost:
                    self._view.say("the platform does not answer; waiting for it …")
                lost = True
            else:
                lost = False
                self._view.update(reading)
                if reading.final:
                    return reading
                if self._at is not None:
                    await self._at(reading)
            took = time.perf_counter() - began
            if await self._pause(max(_INTERVAL, took * _SHARE)) == "leave":
                return None

    async def _pause(self, seconds: float) -> Literal["stop", "leave", "watch"]:
        """Waits, unless ctrl-C is pressed: then does what that is meant for."""
        try:
            async with asyncio.timeout(seconds):
                await self._interrupted.wait()
        except TimeoutError:
            return "watch"
        self._interrupted.clear()
        meant = await self._meaning()
        if meant == "stop":
            await self._stop()
        return meant

    async def _meaning(self) -> Literal["stop", "leave", "watch"]:
        """What ctrl-C is meant to end; where nobody can be asked, only the watching."""
        if not sys.stdin.isatty():
            return "leave"
        self._keys.stop()
        self._view.pause()
        question = f"\nStop the {self._noun}, leave it running, or go on watching? [s/l/W]"
        try:
            answer = await asyncio.to_thread(
                click.prompt, question, default="w", show_default=False, prompt_suffix=" "
            )
        except click.Abort:
            return "leave"
        word = str(answer).strip().lower()[:1]
        if word == "l":
            return "leave"
        self._view.resume()
        if self._view.is_live:
            self._keys.listen()
        return "stop" if word == "s" else "watch"
