"""A run's graph: tasks in layers from left to right, drawn as SVG.

Layers are longest-path depths and the order within a layer follows the mean position of a task's
predecessors, which keeps the few crossings that pipelines have readable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kubeling.gateway.drawing.svg import element

__all__ = ["Node", "draw_graph", "layers"]

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _PAD = 168, 44, 48, 18, 12
_MAX_LABEL = 20


@dataclass(frozen=True, slots=True)
class Node:
    """One task: ``after`` are the ids of the tasks it waits for."""

    id: str
    label: str
    state: str
    after: tuple[str, ...] = ()
    link: str = ""


def layers(nodes: Sequence[Node]) -> list[list[Node]]:
    """The nodes by depth; edges to unknown nodes and edges that close a cycle do not count."""
    by_id = {node.id: node for node in nodes}
    depth: dict[str, int] = {}

    def depth_of(node: Node, trail: frozenset[str]) -> int:
        if node.id not in depth:
            before = [by_id[a] for a in node.after if a in by_id and a not in trail]
            trail = trail | {node.id}
            depth[node.id] = max((depth_of(b, trail) + 1 for b in before), default=0)
        return depth[node.id]

    found: dict[int, list[Node]] = {}
    for node in nodes:
        found.setdefault(depth_of(node, frozenset((node.id,))), []).append(node)
    ordered: list[list[Node]] = []
    position: dict[str, float] = {}
    for level in sorted(found):
        layer = sorted(found[level], key=lambda n: _mean([position.get(a, 0.0) for a in n.after]))
        position.update({node.id: float(i) for i, node in enumerate(layer)})
        ordered.append(layer)
    return ordered


def draw_graph(nodes: Sequence[Node]) -> Markup:
    """The graph as an SVG element whose nodes are links."""
    columns = layers(nodes)
    tallest = max((len(column) for column in columns), default=0)
    height = _PAD * 2 + max(tallest, 1) * (_HEIGHT + _GAP_Y) - _GAP_Y
    width = _PAD * 2 + max(len(columns), 1) * (_WIDTH + _GAP_X) - _GAP_X
    corners: dict[str, tuple[float, float]] = {}
    for x, column in enumerate(columns):
        top = (height - len(column) * (_HEIGHT + _GAP_Y) + _GAP_Y) / 2
        for y, node in enumerate(column):
            corners[node.id] = (_PAD + x * (_WIDTH + _GAP_X), top + y * (_HEIGHT + _GAP_Y))
    edges = [
        _edge(corners[before], corners[node.id])
        for node in nodes
        for before in node.after
        if before in corners
    ]
    boxes = [_box(node, *corners[node.id]) for node in nodes]
    return element(
        "svg",
        *edges,
        *boxes,
        class_="graph",
        viewBox=f"0 0 {width:g} {height:g}",
        style=f"max-width:{width:g}px",
        role="img",
        aria_label=f"graph of {len(nodes)} tasks",
    )


def _edge(start: tuple[float, float], end: tuple[float, float]) -> Markup:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    bend = (x1 + x2) / 2
    return element(
        "path", class_="edge", d=f"M{x1:g},{y1:g} C{bend:g},{y1:g} {bend:g},{y2:g} {x2:g},{y2:g}"
    )


def _box(node: Node, x: float, y: float) -> Markup:
    label = node.label if len(node.label) <= _MAX_LABEL else node.label[: _MAX_LABEL - 1] + "…"
    inside = (
        element("title", f"{node.label}: {node.state or 'waiting'}"),
        element("rect", x=f"{x:g}", y=f"{y:g}", width=_WIDTH, height=_HEIGHT, rx=8),
        element("circle", cx=f"{x + 16:g}", cy=f"{y + _HEIGHT / 2:g}", r=5),
        element("text", label, x=f"{x + 30:g}", y=f"{y + _HEIGHT / 2 + 4:g}"),
    )
    kind = f"node state-{node.state.lower() or 'waiting'}"
    if node.link:
        return element("a", *inside, href=node.link, class_=kind)
    return element("g", *inside, class_=kind)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
