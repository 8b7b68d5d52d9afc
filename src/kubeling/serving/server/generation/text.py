"""Text from tokens as they are made: whole characters only, and nothing of a stop sequence.

A token may be a part of a character, and what stands before it may change how it is written, so a
few tokens are decoded together with each new one. Text that may turn out to begin a stop sequence
is held back until it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["TextStream"]

_PARTIAL: Final = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """The text that follows ``before``, the last tokens of the prompt."""

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stops: Sequence[str] = (),
        before: Sequence[int] = (),
    ) -> None:
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._tokens = list(before)
        self._start, self._read = 0, len(self._tokens)
        self._held = ""
        self.stopped = False
        """Whether a stop sequence was made; what follows it is dropped."""

    def push(self, token: int) -> str:
        """Takes a token; the text that can be shown now."""
        self._tokens.append(token)
        text = self._new_text()
        if text.endswith(_PARTIAL):
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return self._shown(text)

    def finish(self) -> str:
        """No more tokens come; the text that was held back."""
        if self.stopped:
            return ""
        text = self._shown(self._new_text())
        rest, self._held = self._held, ""
        self._start = self._read = len(self._tokens)
        return text if self.stopped else text + rest

    def _new_text(self) -> str:
        before = self._decode(self._tokens[self._start : self._read])
        return self._decode(self._tokens[self._start :])[len(before) :]

    def _shown(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        kept = self._begun()
        shown, self._held = self._held[: len(self._held) - kept], self._held[-kept:] if kept else ""
        return shown

    def _begun(self) -> int:
        """How much of the end may be the beginning of a stop sequence."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0
