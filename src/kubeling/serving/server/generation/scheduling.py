"""Which texts a step reads on in, and how far: vLLM's rules, with time instead of a token budget.

Texts that grow get a token each. What is left of a step reads prompts, a piece of each in turn, so
that neither a long prompt keeps others from their next token for long, nor long ones short ones.
How many tokens that is follows from how fast the model reads here. When the memory is full, the
text that came last gives up what is kept of it, and waits to be read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

__all__ = ["Pace", "fits", "parts", "to_give_up"]

_LEAST: Final = 16
_WATCHED: Final = 0.2
_ALONE: Final = 1.0
"""Seconds for which prompts may be read at a stretch, with and without others that wait."""


class Reading(Protocol):
    """A text, as far as it matters here."""

    @property
    def unread(self) -> int:
        """Tokens that the model has not read."""

    @property
    def kept(self) -> int:
        """Tokens that the memory holds something of."""

    @property
    def stretch(self) -> int:
        """Tokens that are read of it in a step at most."""


T = TypeVar("T", bound=Reading)


class Pace:
    """How many tokens of prompts a step reads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0.0

    def took(self, tokens: int, seconds: float) -> None:
        """Learns from a step that read this many tokens of prompts."""
        if tokens >= _LEAST:
            found = tokens / max(seconds, 1e-6)
            self._second = found if not self._second else (self._second + found) / 2

    def tokens(self, *, watched: bool) -> int:
        """The tokens of the next step; ``watched`` by others that wait for their next one."""
        wanted = self._second * (_WATCHED if watched else _ALONE)
        return min(self._most, max(_LEAST, int(wanted)))


def parts(texts: Sequence[T], pace: Pace, most: int) -> list[tuple[T, int]]:
    """The texts of a step and how many tokens are read of each; prompts in their order."""
    growing = [(text, 1) for text in texts if text.unread == 1]
    room = min(max(most - len(growing), 1), pace.tokens(watched=bool(growing)))
    prompts = [text for text in texts if text.unread > 1]
    found = list(growing)
    for index, text in enumerate(prompts):
        # Each has an equal share; what one leaves goes to those after it.
        share = -(-room // (len(prompts) - index))
        count = min(text.unread, share, text.stretch)
        if count <= 0:
            break
        found.append((text, count))
        room -= count
    return found


def to_give_up(texts: Sequence[T], step: Sequence[tuple[T, int]], most: int) -> T | None:
    """The text to wait again before a step, as the memory holds ``most`` tokens: the last one."""
    needed = sum(text.kept for text in texts) + sum(count for _, count in step)
    return texts[-1] if needed > most and len(texts) > 1 else None


def fits(texts: Sequence[Reading], text: Reading, most: int) -> bool:
    """Whether a text that waits may be read beside others."""
    needed = sum(other.kept + other.unread for other in texts) + text.unread + 1
    return not texts or needed <= most
