"""Shares as bars beside their names."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from kubeling.gateway.drawing.svg import element

__all__ = ["draw_bars"]

_WIDTH, _NAMES, _ROW = 640, 170, 28


def draw_bars(shares: Sequence[tuple[str, float]], label: str) -> Markup:
    """A bar for each, as long as its share of the largest; empty without any."""
    if not shares:
        return Markup("")
    most = max(share for _, share in shares) or 1.0
    rows = []
    for place, (name, share) in enumerate(shares):
        y = place * _ROW
        width = share / most * (_WIDTH - _NAMES - 60)
        rows += [
            element("text", name, x=_NAMES - 10, y=y + 18, class_="aside"),
            element(
                "rect",
                x=_NAMES,
                y=y + 5,
                width=f"{max(width, 1):.1f}",
                height=_ROW - 10,
                rx=3,
                class_="bar-of",
            ),
            element("text", f"{share:.0%}", x=f"{_NAMES + width + 8:.1f}", y=y + 18),
        ]
    size = f"0 0 {_WIDTH} {len(shares) * _ROW}"
    return element("svg", *rows, class_="chart bars", viewBox=size, role="img", aria_label=label)
