"""A picture in pieces, so that what has changed of it can be sent alone.

A piece has a key that stays the same from drawing to drawing; its first letter says in which layer
it lies: ``f`` frames behind everything, ``e`` edges, ``b`` boxes. A browser that has one drawing
gets to the next by replacing, adding and removing pieces.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

from markupsafe import Markup

from kubeling.gateway.drawing.svg import element

__all__ = ["Picture", "differences"]

_LAYERS: Final = ("f", "e", "b")


@dataclass(slots=True)
class Picture:
    """Pieces of SVG by key, and how large the whole is."""

    width: float = 0
    height: float = 0
    pieces: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, *inner: str, class_: str = "", **attributes: Any) -> None:
        """Adds a piece: a group of SVG elements."""
        content = element("g", *inner, class_=class_ or None, data_key=key, **attributes)
        self.pieces[key] = str(content)

    @property
    def digest(self) -> str:
        """Names the picture by what is in it."""
        whole = "".join(self.pieces.values())
        return f"{zlib.crc32(whole.encode()):08x}{len(whole):x}"

    def draw(self, class_: str, label: str) -> Markup:
        """The whole as one SVG element."""
        inside: dict[str, list[str]] = {layer: [] for layer in _LAYERS}
        for key, piece in self.pieces.items():
            inside[key[0]].append(piece)
        layers = "".join(
            f'<g data-layer="{layer}">{"".join(pieces)}</g>' for layer, pieces in inside.items()
        )
        size = f'width="{self.width:g}" height="{self.height:g}"'
        box = f'viewBox="0 0 {self.width:g} {self.height:g}" data-digest="{self.digest}"'
        about = f'class="{escape(class_)}" role="group" aria-label="{escape(label)}"'
        return Markup(f"<svg {about} {size} {box}>{layers}</svg>")


def differences(before: Picture, after: Picture) -> dict[str, Any] | None:
    """What leads from one picture to the next; ``None`` if they are the same."""
    put = [piece for key, piece in after.pieces.items() if before.pieces.get(key) != piece]
    gone = [key for key in before.pieces if key not in after.pieces]
    size = (after.width, after.height)
    if not put and not gone and size == (before.width, before.height):
        return None
    return {"size": size, "put": put, "gone": gone}
