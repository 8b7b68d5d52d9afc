"""A network as SVG: layers from top to bottom, and bows from those further up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from kubeling.gateway.drawing.svg import element
from kubeling.gateway.trials.architecture import Layer, Network

__all__ = ["draw_network"]

_WIDTH: Final = 300
_TITLE: Final = 28
_LINE: Final = 16
_GAP: Final = 22
_PAD: Final = 8
_BOW: Final = 13
"""How much further out a bow goes for each layer that it passes."""
_LEAST: Final = 16
_MOST: Final = 150
_LETTERS: Final = 50


def draw_network(network: Network) -> Markup:
    """The whole network; what a layer takes in is in its title, too."""
    layers = network.layers
    heights = [_TITLE + _LINE * len(layer.lines) for layer in layers]
    tops = [_PAD + sum(heights[:i]) + _GAP * i for i in range(len(layers))]
    widest = max((_reach(i - s) for i, layer in enumerate(layers) for s in layer.takes), default=0)
    edges = [
        _edge(source, place, tops, heights)
        for place, layer in enumerate(layers)
        for source in layer.takes
    ]
    boxes = [
        _box(layer, top, height, layers)
        for layer, top, height in zip(layers, tops, heights, strict=True)
    ]
    width, height = _WIDTH + widest + 3 * _PAD, tops[-1] + heights[-1] + _PAD
    return element(
        "svg",
        *edges,
        *boxes,
        class_="network",
        role="img",
        aria_label=f"{network.title} of {len(layers)} layers",
        width=f"{width:g}",
        height=f"{height:g}",
        viewBox=f"0 0 {width:g} {height:g}",
    )


def _reach(passed: int) -> float:
    return min(_LEAST + _BOW * (passed - 1), _MOST) if passed > 1 else 0


def _edge(source: int, place: int, tops: Sequence[float], heights: Sequence[float]) -> Markup:
    if place - source == 1:
        x = _PAD + _WIDTH / 2
        path = f"M{x:g} {tops[source] + heights[source]:g}V{tops[place]:g}"
    else:
        right, out = _PAD + _WIDTH, _reach(place - source)
        above = tops[source] + heights[source] / 2
        below = tops[place] + heights[place] / 2
        bend = out * 4 / 3
        path = f"M{right} {above:g}c{bend:g} 0 {bend:g} {below - above:g} 0 {below - above:g}"
    kind = "on" if place - source == 1 else "over"
    return element("path", d=path, class_=kind)


def _box(layer: Layer, top: float, height: float, layers: Sequence[Layer]) -> Markup:
    taken = ", ".join(layers[source].title for source in layer.takes)
    title = ": ".join([layer.title, *layer.lines]) + (f"; takes {taken}" if taken else "")
    left = _PAD + 10
    lines = [
        element("text", _cut(line), x=left, y=f"{top + _TITLE - 9 + _LINE * (i + 1):g}")
        for i, line in enumerate(layer.lines)
    ]
    return element(
        "g",
        element("title", title),
        element("rect", x=_PAD, y=f"{top:g}", width=_WIDTH, height=f"{height:g}", rx=7),
        element("text", _cut(layer.title), x=left, y=f"{top + 18:g}", class_="name"),
        *lines,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
