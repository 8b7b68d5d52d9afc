"""What was made of heads that came before: the same bytes mean the same again.

Clients that keep their connections send the same head again and again, and so do pods but for the
length of what follows. Reading one costs more than all that is then done with it. What is found
here was made of exactly these bytes by the parser; nothing is guessed.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

__all__ = ["END", "Heads"]

END: Final = b"\r\n\r\n"
_KEPT: Final = 512
_LONGEST: Final = 4096

Meaning = TypeVar("Meaning")


class Heads(Generic[Meaning]):
    """Some hundred heads; where more are sent, those of late."""

    def __init__(self) -> None:
        self._known: dict[bytes, Meaning] = {}
        self.find = self._known.get
        """What a head means, or ``None``."""

    def learn(self, head: bytes, meaning: Meaning) -> None:
        """Remembers a head."""
        if len(head) > _LONGEST:
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[head] = meaning

    def forget(self) -> None:
        """Remembers none."""
        self._known.clear()
