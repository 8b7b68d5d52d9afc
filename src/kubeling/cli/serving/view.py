"""How far a model is: a line that is redrawn, elsewhere a line for each change."""

from __future__ import annotations

import time

from rich.text import Text

from kubeling.cli.live import LiveView
from kubeling.gateway.models.progress import Progress
from kubeling.kube.advice import advice

__all__ = ["View"]

_MARKS = {"ready": ("✓", "green"), "failed": ("✗", "red"), "stopped": ("■", "yellow")}


class View(LiveView):
    """Shows how far the newest revision is."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        super().__init__(title, quiet=quiet)
        self._title = title
        self._began = time.monotonic()
        self._told = ""

    def update(self, progress: Progress) -> None:
        """It has come so far."""
        if self._live is not None:
            self._live.update(self._line(progress))
        elif progress.doing != self._told:
            self._told = progress.doing
            self.console.print(self._line(progress), soft_wrap=True)

    def _line(self, progress: Progress) -> Text:
        doing = "failed" if progress.state == "failed" else progress.doing
        mark, style = _MARKS.get(progress.state, ("●", "cyan"))
        took = time.monotonic() - self._began
        line = Text.assemble((mark, style), " ", (self._title, "bold"), f"  {doing}")
        if progress.revision:
            line.append(f"  {progress.revision}", "dim")
        line.append(f"  {took:.0f}s", "dim")
        if not progress.final and (hint := advice(progress.doing)):
            line.append(f"\n  Try this: {hint}")
        return line
