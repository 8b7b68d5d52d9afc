"""The live tree of stages: redrawn on a terminal, one line a stage elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from kubeling.cli.demo_run.stages import STAGES

__all__ = ["View"]

State = Literal["waiting", "running", "interrupted", "done", "failed"]

_MARKS: dict[State, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("●", "cyan"),
    "interrupted": ("…", "yellow"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
}


class View:
    """Shows how far the job is; ``quiet`` shows nothing."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, highlight=False)
        self._title = title
        self._states: dict[str, tuple[State, str]] = {s.name: ("waiting", "") for s in STAGES}
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(self._tree(), console=self._console, refresh_per_second=8)

    @property
    def console(self) -> Console:
        return self._console

    def shown(self) -> AbstractContextManager[Any]:
        """Shows the tree for the length of a block."""
        return self._live if self._live is not None else nullcontext()

    def update(self, stage: str, state: State, line: str = "") -> None:
        """A stage has come to a state, or has something new to say."""
        before, _ = self._states[stage]
        self._states[stage] = (state, line)
        if self._live is not None:
            self._live.update(self._tree())
        elif state != before:
            title = next(s.title for s in STAGES if s.name == stage)
            mark, _ = _MARKS[state]
            self._console.print(f"{mark} {title}" + (f": {line}" if line else ""))

    def _tree(self) -> Tree:
        tree = Tree(Text(self._title, style="bold"))
        for stage in STAGES:
            state, line = self._states[stage.name]
            mark, style = _MARKS[state]
            branch = tree.add(Text.assemble((mark, style), " ", stage.title))
            if line:
                branch.add(Text(line, style="dim" if state != "failed" else "red"))
        return tree
