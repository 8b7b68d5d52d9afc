"""How a search is shown: a live table on a terminal, elsewhere a line when a trial ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from kubeling.cli.live import LiveView
from kubeling.gateway.trials.model import Study, Trial
from kubeling.kube.durations import human_duration

__all__ = ["View", "short"]

_MARKS: Final[dict[str, tuple[str, str]]] = {
    "pending": ("○", "yellow"),
    "running": ("●", "cyan"),
    "succeeded": ("✓", "green"),
    "stopped": ("■", "yellow"),
    "canceled": ("■", "yellow"),
    "failed": ("✗", "red"),
    "unavailable": ("✗", "red"),
}
_KEYS: Final = "l: what the trials write, on and off; ctrl-C: stop the search or leave it"
_ROOM: Final = 8
"""Lines of a terminal that are left for what else is there."""
_BRIEF: Final = 10


class View(LiveView):
    """Shows how far a search is."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        super().__init__(title, quiet=quiet)
        self._told: set[str] = set()

    def update(self, study: Study) -> None:
        """The search has come so far."""
        if self._live is not None:
            most = max(self.console.size.height - _ROOM, 5)
            self._live.update(draw(study, most, time.time()))
            return
        for trial in study.trials:
            if trial.final and trial.name not in self._told:
                self._told.add(trial.name)
                self.console.print(_line(study, trial), soft_wrap=True)


def draw(study: Study, most: int, now: float) -> Group:
    """The head, the best so far, and a table of at most so many trials."""
    done = sum(1 for trial in study.trials if trial.final)
    goal = study.goal
    head = Text.assemble(
        (study.name, "bold"),
        f"  {goal.direction} {goal.metric} by {study.algorithm}  ",
        (f"{done}/{study.most or '∞'} trials", "bold"),
    )
    for state in ("running", "failed", "unavailable", "stopped"):
        if count := study.counts.get(state):
            head.append(f"  {count} {state}", _MARKS[state][1])
    parts: list[Any] = [head]
    if study.best is not None:
        parts.append(Text.assemble("best so far: ", (_found(study, study.best), "green")))
    parts.append(_table(study, most, now))
    if not study.final:
        parts.append(Text(_KEYS, "dim"))
    return Group(*parts)


def _table(study: Study, most: int, now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right")
    table.add_column("")
    for goal in study.goals:
        table.add_column(goal.metric, justify="right")
    for name in study.names:
        table.add_column(name, overflow="fold")
    table.add_column("took", justify="right")
    for trial in _wanted(study, most):
        mark, style = _MARKS[trial.state]
        best = trial.name == study.best_name
        table.add_row(
            str(trial.number),
            Text(mark, style),
            *(short(trial.metrics.get(goal.metric)) for goal in study.goals),
            *(short(trial.parameters.get(name)) for name in study.names),
            _took(trial, now),
            style="bold green" if best else "dim" if not trial.final else None,
        )
    return table


def _wanted(study: Study, most: int) -> Sequence[Trial]:
    """The best, those under way and the latest, in their order."""
    if len(study.trials) <= most:
        return study.trials
    active = [trial for trial in study.trials if not trial.final]
    chosen = [*([study.best] if study.best else []), *active, *reversed(study.trials)]
    names = list(dict.fromkeys(trial.name for trial in chosen))[:most]
    return [trial for trial in study.trials if trial.name in names]


def _line(study: Study, trial: Trial) -> Text:
    mark, style = _MARKS[trial.state]
    text = Text.assemble((mark, style), f" {trial.name}  ")
    if trial.state != "succeeded":
        text.append(f"{trial.state}  ", style)
    text.append(_found(study, trial))
    if trial.name == study.best_name:
        text.append("  best so far", "green")
    return text


def _found(study: Study, trial: Trial) -> str:
    """``accuracy=0.93 with lr=0.1 opt=adam``"""
    metrics = [f"{name}={short(value)}" for name, value in trial.metrics.items()]
    given = " ".join(f"{name}={short(trial.parameters.get(name))}" for name in study.names)
    return f"{' '.join(metrics)} with {given}" if metrics else given


def short(value: object) -> str:
    """A number to six digits; other text as it is."""
    if value is None:
        return ""
    try:
        return f"{float(str(value)):.6g}"
    except ValueError:
        return str(value)


def _took(trial: Trial, now: float) -> str:
    if trial.started is None:
        return ""
    seconds = max((trial.finished or now) - trial.started, 0.0)
    return f"{seconds:.0f}s" if seconds < _BRIEF else human_duration(seconds)
