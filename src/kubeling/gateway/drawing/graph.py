"""A run's graph as SVG: columns from left to right, open groups as frames around what is in them.

A column follows what lies before it, and the order within it the mean position of a step's
predecessors, which keeps the few crossings that pipelines have readable. Steps side by side that
nothing joins, a loop's iterations, stand in a grid instead of a tower.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from kubeling.gateway.drawing.picture import Picture
from kubeling.gateway.drawing.svg import element
from kubeling.gateway.steps.model import STATES, Step
from kubeling.gateway.steps.visible import Shown
from kubeling.kube.durations import human_duration

__all__ = ["cut", "draw_graph", "summary", "took"]

Link = Callable[[str], str]

_WIDTH: Final = 184
_HEIGHT: Final = 46
_GAP_X: Final = 44
_GAP_Y: Final = 14
_PAD: Final = 14
_BRIEF: Final = 10
_INSTANT: Final = ("cached", "skipped", "omitted")
_TITLE: Final = 30
_MAX_LABEL: Final = 21
_SCREEN: Final = 620.0
_WORDS: Final = {
    "dag": "nested pipeline", "loop": "loop", "iteration": "iteration", "retry": "retried step",
    "fold": "folded", "step": "step",
}  # fmt: skip


@dataclass(slots=True)
class _Placed:
    """A box with its size, and where in its frame its parts are."""

    shown: Shown
    width: float
    height: float
    inside: list[tuple[_Placed, float, float]]


def draw_graph(
    columns: Sequence[Sequence[Shown]],
    critical: frozenset[str],
    link: Link,
    toggle: Link,
    detail: Mapping[str, str] | None = None,
) -> Picture:
    """The graph; ``link`` leads to a step's page, ``toggle`` to the graph with a group switched."""
    boxes, width, height = _arrange(columns)
    picture = Picture(max(width + 2 * _PAD, 2 * _PAD), max(height + 2 * _PAD, 2 * _PAD))
    _Pen(picture, critical, link, toggle, detail or {}).put(boxes, _PAD, _PAD)
    return picture


def _arrange(
    columns: Sequence[Sequence[Shown]],
) -> tuple[list[tuple[_Placed, float, float]], float, float]:
    """Boxes with their corners, and the size of it all."""
    placed = [[_place(box) for box in column] for column in columns]
    grid = len(placed) == 1
    if grid:
        placed = _grid(placed[0])
    heights = [sum(b.height + _GAP_Y for b in column) - _GAP_Y for column in placed]
    tallest = max(heights, default=0.0)
    found: list[tuple[_Placed, float, float]] = []
    x = 0.0
    for column, height in zip(placed, heights, strict=True):
        broad = max((box.width for box in column), default=0.0)
        y = 0.0 if grid else min((tallest - height) / 2, _SCREEN / 2)
        for box in column:
            found.append((box, x, y))
            y += box.height + _GAP_Y
        x += broad + _GAP_X
    return found, max(x - _GAP_X, 0.0), tallest


def _grid(boxes: list[_Placed]) -> list[list[_Placed]]:
    """Several columns in place of one that is much higher than a screen."""
    whole = sum(box.height + _GAP_Y for box in boxes)
    area = sum((box.height + _GAP_Y) * (box.width + _GAP_X) for box in boxes)
    limit = max(_SCREEN, math.sqrt(area / 2))
    if whole <= limit:
        return [boxes]
    columns: list[list[_Placed]] = [[]]
    height = 0.0
    for box in boxes:
        if columns[-1] and height + box.height > limit:
            columns.append([])
            height = 0.0
        columns[-1].append(box)
        height += box.height + _GAP_Y
    return columns


def _place(shown: Shown) -> _Placed:
    if shown.columns is None:
        return _Placed(shown, _WIDTH, _HEIGHT, [])
    inside, width, height = _arrange(shown.columns)
    return _Placed(shown, max(width, _WIDTH - 2 * _PAD) + 2 * _PAD, height + _TITLE + _PAD, inside)


class _Pen:
    def __init__(
        self,
        picture: Picture,
        critical: frozenset[str],
        link: Link,
        toggle: Link,
        detail: Mapping[str, str],
    ) -> None:
        self.picture = picture
        self.critical = critical
        self.link = link
        self.toggle = toggle
        self.detail = detail

    def put(self, boxes: list[tuple[_Placed, float, float]], left: float, top: float) -> None:
        places = {box.shown.step.id: (left + x, top + y, box) for box, x, y in boxes}
        for key, (x, y, box) in places.items():
            if box.shown.is_open:
                self._frame(box, x, y)
                self.put(box.inside, x + _PAD, y + _TITLE)
            else:
                self._box(box.shown, x, y)
            for before in box.shown.step.after:
                if before in places:
                    self._edge(before, places[before], key, (x, y, box))

    def _edge(
        self,
        before: str,
        start: tuple[float, float, _Placed],
        then: str,
        end: tuple[float, float, _Placed],
    ) -> None:
        x1, y1 = start[0] + start[2].width, start[1] + start[2].height / 2
        x2, y2 = end[0], end[1] + end[2].height / 2
        bend = (x1 + x2) / 2
        hot = before in self.critical and then in self.critical
        self.picture.add(
            f"e{before}>{then}",
            element("path", d=f"M{x1:g},{y1:g} C{bend:g},{y1:g} {bend:g},{y2:g} {x2:g},{y2:g}"),
            class_="edge critical" if hot else "edge",
        )

    def _class(self, shown: Shown, kind: str) -> str:
        words = [kind, f"state-{shown.step.state}", f"kind-{shown.step.kind}"]
        if shown.step.id in self.critical:
            words.append("critical")
        if not shown.matches:
            words.append("faint")
        return " ".join(words)

    def _frame(self, box: _Placed, x: float, y: float) -> None:
        step = box.shown.step
        key = step.id
        label = cut(step.label, int(box.width // 8) - 6)
        head = element(
            "a",
            element("title", f"{step.label}: {step.state}, open; shut it"),
            element("rect", x=f"{x:g}", y=f"{y:g}", width=f"{box.width:g}", height=_TITLE, rx=8),
            element("text", f"▾ {label}", x=f"{x + 12:g}", y=f"{y + 20:g}"),
            href=self.toggle(key),
            data_toggle=key,
            class_="head",
            aria_expanded="true",
        )
        around = element(
            "rect",
            x=f"{x:g}",
            y=f"{y:g}",
            width=f"{box.width:g}",
            height=f"{box.height:g}",
            rx=10,
            class_="around",
        )
        self.picture.add(f"f{key}", around, head, class_=self._class(box.shown, "frame"))

    def _box(self, shown: Shown, x: float, y: float) -> None:
        step = shown.step
        group = bool(shown.tally)
        below = self.detail.get(step.id) or (summary(shown.tally) if group else _outcome(step))
        inside = [
            element("title", f"{step.label}: {step.state}{_tries(step.attempts)}"),
            element("rect", x=f"{x:g}", y=f"{y:g}", width=_WIDTH, height=_HEIGHT, rx=8),
            element("circle", cx=f"{x + 15:g}", cy=f"{y + 17:g}", r=5),
            element("text", cut(step.label, _MAX_LABEL), x=f"{x + 27:g}", y=f"{y + 21:g}"),
            element("text", cut(below, 26), x=f"{x + 27:g}", y=f"{y + 37:g}", class_="below"),
        ]
        if group:
            inside += [
                _bar(shown.tally, x + 8, y + _HEIGHT - 4, _WIDTH - 16),
                element("text", "+", x=f"{x + _WIDTH - 18:g}", y=f"{y + 21:g}", class_="plus"),
            ]
            where = {
                "href": self.toggle(step.id),
                "data_toggle": step.id,
                "aria_expanded": "false",
                "aria_label": f"{_WORDS[step.kind]} {step.label}: {summary(shown.tally)}; open it",
            }
        else:
            where = {"href": self.link(step.id), "data_step": step.id}
        kind = self._class(shown, "group" if group else "node")
        self.picture.add(f"b{step.id}", element("a", *inside, **where), class_=kind)


def _bar(tally: Counter[str], x: float, y: float, width: float) -> Markup:
    """A line whose parts are as long as the states are frequent."""
    total = sum(tally.values())
    parts = []
    for state in STATES:
        if count := tally.get(state):
            size = width * count / total
            parts.append(
                element(
                    "rect",
                    x=f"{x:.1f}",
                    y=f"{y:g}",
                    width=f"{size:.1f}",
                    height=3,
                    class_=f"part state-{state}",
                )
            )
            x += size
    return Markup("").join(parts)


def summary(tally: Counter[str]) -> str:
    """How many steps there are, and how many of them call for attention."""
    total = sum(tally.values())
    done = sum(tally[s] for s in ("succeeded", "cached", "skipped", "omitted"))
    bad = tally["failed"] + tally["error"]
    text = f"{done}/{total} done"
    return f"{text}, {bad} failed" if bad else text


def _outcome(step: Step) -> str:
    """The state, and how long it took to come to it."""
    if step.started is None or step.finished is None or step.state in _INSTANT:
        return step.state
    return f"{step.state}, {took(step.finished - step.started)}"


def took(seconds: float) -> str:
    """A length of time in few letters."""
    return f"{round(seconds, 1):g}s" if seconds < _BRIEF else human_duration(seconds)


def _tries(attempts: int) -> str:
    return f", {attempts} attempts" if attempts > 1 else ""


def cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: max(size - 1, 1)] + "…"
