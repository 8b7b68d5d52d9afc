"""A subject drawn the way a request asks for: as graph, timeline or list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from aiohttp import web

from kubeling.gateway.drawing.graph import draw_graph
from kubeling.gateway.drawing.picture import Picture
from kubeling.gateway.drawing.timeline import draw_timeline
from kubeling.gateway.pages.runs.subject import Subject
from kubeling.gateway.steps.model import STATES, Step
from kubeling.gateway.steps.visible import View, shown

__all__ = ["Asked", "Row", "asked_of", "draw", "rows_of"]

_VIEWS: Final = ("graph", "timeline", "list")
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request's query asks for."""

    way: str
    view: View
    page: int = 0

    def url(self, base: str, **changes: str) -> str:
        """The page with another way to look at it."""
        values: dict[str, str | list[str]] = {
            "view": self.way if self.way != "graph" else "",
            "q": self.view.search,
            "state": self.view.state,
            "open": sorted(self.view.open),
            "shut": sorted(self.view.shut),
        }
        found = {key: value for key, value in (values | changes).items() if value}
        return f"{base}?{urlencode(found, doseq=True)}" if found else base


@dataclass(frozen=True, slots=True)
class Row:
    """A step in the list, with the groups around it."""

    step: Step
    trail: str
    link: str


def asked_of(request: web.Request) -> Asked:
    """The query of a page or of its stream; what it does not know counts as not asked."""
    query = request.query
    way, state = query.get("view", "graph"), query.get("state", "")
    view = View(
        frozenset(query.getall("open", ())),
        frozenset(query.getall("shut", ())),
        query.get("q", "").strip(),
        state if state in STATES else "",
    )
    page = query.get("page", "0")
    return Asked(way if way in _VIEWS else "graph", view, int(page) if page.isdecimal() else 0)


def draw(subject: Subject, asked: Asked, now: float) -> Picture:
    """The graph or the timeline."""
    columns = shown(subject.tree, asked.view)

    def link(step: str) -> str:
        return f"{subject.base}/steps/{quote(step, safe='')}"

    def toggle(group: str) -> str:
        query = urlencode({"open": group} | ({"view": asked.way} if asked.way != "graph" else {}))
        return f"{subject.base}?{query}"

    critical = subject.tree.critical
    if asked.way == "timeline":
        return draw_timeline(columns, critical, now, link, toggle)
    return draw_graph(columns, critical, link, toggle)


def rows_of(subject: Subject, asked: Asked) -> tuple[list[Row], int]:
    """A page of the steps that are looked for, in the order they began, and how many there are."""
    found = asked.view.found(subject.tree)
    found.sort(key=lambda step: (step.started is None, step.started or 0.0))
    start = asked.page * _PAGE
    rows = []
    for step in found[start : start + _PAGE]:
        trail = " / ".join(reversed([group.label for group in subject.tree.above(step)]))
        rows.append(Row(step, trail, f"{subject.base}/steps/{quote(step.id, safe='')}"))
    return rows, len(found)
