"""How a run is shown: a live tree on a terminal, a line for each step's end elsewhere.

A tree is as long as the terminal is high at most: groups whose steps all ended well are one line,
and of the rest the failed and the running come first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from kubeling.cli.live import LiveView
from kubeling.cli.running.submission import Reading
from kubeling.gateway.steps.model import BAD, BUSY, FINAL, Step, StepTree
from kubeling.gateway.steps.visible import layers
from kubeling.kube.durations import human_duration

__all__ = ["View", "trail_of"]

_MARKS: Final[dict[str, tuple[str, str]]] = {
    "waiting": ("·", "dim"),
    "pending": ("○", "yellow"),
    "running": ("●", "cyan"),
    "suspended": ("‖", "yellow"),
    "succeeded": ("✓", "green"),
    "cached": ("✓", "green"),
    "skipped": ("-", "dim"),
    "omitted": ("-", "dim"),
    "canceled": ("■", "yellow"),
    "failed": ("✗", "red"),
    "error": ("✗", "red"),
}
_KEYS: Final = "l: what the steps write, on and off; ctrl-C: stop or leave the run"
_BRIEF: Final = 10
_EVIDENT: Final = ("not cached: nothing ran", "not cached: caching is off for this task")
"""What a tree does not say of every step: that it is new, and what its author wrote."""
_ROOM: Final = 6
"""Lines of a terminal that are left for what else is there."""


class View(LiveView):
    """Shows how far a run is."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        super().__init__(title, quiet=quiet)
        self._title = title
        self._told: dict[str, str] = {}

    def update(self, reading: Reading) -> None:
        """The run has come so far."""
        if self._live is not None:
            most = max(self.console.size.height - _ROOM, 8)
            tree = draw(reading, self._title, most, time.time())
            keys = Text("" if reading.final else _KEYS, "dim")
            self._live.update(Group(tree, keys) if keys else tree)
            return
        for step in sorted(reading.tree.leaves(), key=lambda s: s.finished or 0.0):
            if step.state in FINAL and self._told.get(step.id) != step.state:
                self._told[step.id] = step.state
                line = _line(step, time.time(), trail=trail_of(reading.tree, step))
                self.console.print(line, soft_wrap=True)


def draw(reading: Reading, title: str, most: int, now: float) -> Tree:
    """The tree, of at most so many lines."""
    mark, style = _MARKS.get(reading.state, ("○", "yellow"))
    tree = Tree(_cut(Text.assemble((mark, style), " ", (title, "bold"))))
    _grow(tree, reading.tree, "", most, now)
    return tree


def _grow(branch: Tree, tree: StepTree, group: str, room: int, now: float) -> int:
    """Adds what is in a group in at most so many lines; returns how many it took."""
    children = [step for layer in layers(tree.children(group)) for step in layer]
    unfolded = [s for s in children if tree.children(s.id) and s.state in BUSY | BAD]
    shown = _most_wanted(children, max(room // 2, 1) if unfolded else room)
    left = room - len(shown) - (len(shown) < len(children))
    for step in children:
        if step.id not in shown:
            continue
        line = _line(step, now)
        if tree.children(step.id):
            tally = tree.tally(step.id)
            done = sum(count for state, count in tally.items() if state in FINAL)
            line.append(f"  {done}/{tally.total()}", "dim")
        added = branch.add(_cut(line))
        if step in unfolded and left > 1:
            left -= _grow(added, tree, step.id, left, now)
    if len(shown) < len(children):
        branch.add(Text(f"… {len(children) - len(shown)} more", "dim"))
    return room - left


def _most_wanted(steps: Sequence[Step], room: int) -> set[str]:
    """The ids of the steps that are shown if there is not room for all."""
    if len(steps) <= room:
        return {step.id for step in steps}

    def rank(step: Step) -> int:
        return 0 if step.state in BAD else 1 if step.state in BUSY else 2

    return {step.id for step in sorted(steps, key=rank)[: max(room - 1, 1)]}


def _cut(line: Text) -> Text:
    """One line of the terminal, whatever there is to say."""
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _line(step: Step, now: float, trail: str = "") -> Text:
    mark, style = _MARKS.get(step.state, ("○", "yellow"))
    text = Text.assemble((mark, style), f" {trail}{step.label}")
    if step.state == "cached":
        text.append(f"  cached: {step.cache}" if step.cache else "  cached", "dim")
    elif step.state not in ("succeeded", "running", "waiting"):
        text.append(f"  {step.state}", style)
    if step.attempts > 1:
        text.append(f"  attempt {step.attempts}", "yellow")
    if step.started is not None and step.state not in ("cached", "skipped", "omitted"):
        took = max((step.finished or now) - step.started, 0.0)
        shown = f"{took:.1f}s" if took < _BRIEF else human_duration(took)
        text.append("" if shown == "0.0s" else f"  {shown}", "dim")
    if step.state != "cached" and step.cache and not step.cache.startswith(_EVIDENT):
        text.append(f"  {step.cache}", "dim")
    return text


def trail_of(tree: StepTree, step: Step) -> str:
    """The groups that a step lies in, each with a slash."""
    return "".join(f"{group.label}/" for group in reversed(list(tree.above(step))))
