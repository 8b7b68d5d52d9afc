"""What is redrawn in its place on a terminal, and is lines one after another elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

__all__ = ["LiveView"]


class LiveView:
    """Shows how far something is; ``quiet`` shows nothing, ``muted`` no lines of logs."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self.console = Console(quiet=quiet, highlight=False)
        self.muted = False
        self._live: Live | None = None
        if self.console.is_terminal and not quiet:
            self._live = Live(Text(title), console=self.console, refresh_per_second=8)

    @property
    def is_live(self) -> bool:
        """Whether it is redrawn in its place."""
        return self._live is not None

    def shown(self) -> AbstractContextManager[Any]:
        """Shows it for the length of a block."""
        return self._live if self._live is not None else nullcontext()

    def say(self, text: str, style: str = "") -> None:
        """A line of its own, as it is."""
        self.console.print(Text(text, style), soft_wrap=True)

    def pause(self) -> None:
        """Makes room for a question."""
        if self._live is not None:
            self._live.stop()

    def resume(self) -> None:
        if self._live is not None:
            self._live.start(refresh=True)

    def log(self, writer: str, line: str) -> None:
        """A line that a step or trial wrote."""
        if not self.muted:
            self.console.print(Text.assemble((f"{writer}: ", "dim"), line), soft_wrap=True)
