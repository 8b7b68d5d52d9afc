"""Writing SVG elements with everything escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from markupsafe import Markup

__all__ = ["element"]


def element(tag: str, *children: str, **attributes: Any) -> Markup:
    """An element; underscores in attribute names become dashes, ``class_`` becomes ``class``.

    Children that are :class:`~markupsafe.Markup` are kept, others are escaped.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(children)
    return Markup(f"<{tag}{shown}>{inner}</{tag}>")
