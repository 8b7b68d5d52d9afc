"""A run's steps over time: a bar each, groups before what is in them, in the order they began."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from kubeling.gateway.drawing.graph import cut, took
from kubeling.gateway.drawing.picture import Picture
from kubeling.gateway.drawing.svg import element
from kubeling.gateway.steps.model import Step
from kubeling.gateway.steps.visible import Shown
from kubeling.kube.durations import human_duration

__all__ = ["draw_timeline"]

_NAMES: Final = 230
_WIDTH: Final = 900
_ROW: Final = 26
_TOP: Final = 26
_MOST: Final = 600
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def draw_timeline(
    columns: Sequence[Sequence[Shown]],
    critical: frozenset[str],
    now: float,
    link: Callable[[str], str],
    toggle: Callable[[str], str],
) -> Picture:
    """The chart; rows beyond the first hundreds are counted in the last one."""
    rows = list(_rows(columns, 0))
    begun = [shown.step.started for shown, _ in rows if shown.step.started is not None]
    picture = Picture(_NAMES + _WIDTH + 70, _TOP + (min(len(rows), _MOST + 1)) * _ROW + 8)
    if not begun:
        return picture
    start = min(begun)
    ends = [_end(shown.step, now) for shown, _ in rows]
    tick, most = _scale(max(ends) - start)
    for number in range(round(most / tick) + 1):
        x = _NAMES + number * tick / most * _WIDTH
        picture.add(
            f"e{number}",
            element("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=_TOP - 6, y2=picture.height - 6),
            element("text", human_duration(number * tick), x=f"{x + 3:.1f}", y=14),
            class_="tick",
        )
    for number, (shown, level) in enumerate(rows[:_MOST]):
        _row(
            picture, shown, level, _TOP + number * _ROW, (start, most, now), critical, link, toggle
        )
    if len(rows) > _MOST:
        text = f"{len(rows) - _MOST} more rows: search, or shut groups"
        picture.add("b+", element("text", text, x=12, y=f"{picture.height - 14:g}"))
    return picture


def _rows(columns: Sequence[Sequence[Shown]], level: int) -> Iterator[tuple[Shown, int]]:
    boxes = [box for column in columns for box in column]
    for box in sorted(boxes, key=lambda b: b.step.started or math.inf):
        yield box, level
        if box.columns is not None:
            yield from _rows(box.columns, level + 1)


def _row(
    picture: Picture,
    shown: Shown,
    level: int,
    y: float,
    scale: tuple[float, float, float],
    critical: frozenset[str],
    link: Callable[[str], str],
    toggle: Callable[[str], str],
) -> None:
    start, most, now = scale
    step = shown.step
    indent = 12 + level * 14
    mark = ("▾ " if shown.is_open else "▸ ") if shown.tally else ""
    inside = [
        element("title", f"{step.label}: {step.state}"),
        element("rect", x=0, y=f"{y:g}", width=_NAMES + _WIDTH + 70, height=_ROW, class_="row"),
        element("text", mark + cut(step.label, 30 - 2 * level), x=indent, y=f"{y + 17:g}"),
    ]
    if step.started is not None:
        end = _end(step, now)
        x = _NAMES + (step.started - start) / most * _WIDTH
        width = max((end - step.started) / most * _WIDTH, 2)
        if step.created is not None and step.created < step.started:
            since = _NAMES + max(step.created - start, 0) / most * _WIDTH
            inside.append(
                element(
                    "rect",
                    x=f"{since:.1f}",
                    y=f"{y + 11:g}",
                    width=f"{max(x - since, 0):.1f}",
                    height=4,
                    class_="wait",
                )
            )
        inside += [
            element(
                "rect",
                x=f"{x:.1f}",
                y=f"{y + 6:g}",
                width=f"{width:.1f}",
                height=14,
                rx=3,
                class_="part",
            ),
            element(
                "text",
                took(end - step.started),
                x=f"{x + width + 5:.1f}",
                y=f"{y + 17:g}",
                class_="below",
            ),
        ]
    words = ["bar-row", f"state-{step.state}", f"kind-{step.kind}"]
    words += ["critical"] if step.id in critical else []
    words += [] if shown.matches else ["faint"]
    where = (
        {
            "href": toggle(step.id),
            "data_toggle": step.id,
            "aria_expanded": str(shown.is_open).lower(),
        }
        if shown.tally
        else {"href": link(step.id), "data_step": step.id}
    )
    picture.add(f"b{step.id}", element("a", *inside, **where), class_=" ".join(words))


def _end(step: Step, now: float) -> float:
    if step.finished is not None:
        return step.finished
    return max(now, step.started) if step.started is not None else -math.inf


def _scale(length: float) -> tuple[float, float]:
    """The distance of the marks, and the whole length: both round, so that they change seldom."""
    for tick in _STEPS:
        if length <= tick * 8:
            return tick, tick * max(math.ceil(length / tick), 1)
    tick = 86400 * math.ceil(length / 86400 / 8)
    return tick, tick * 8
