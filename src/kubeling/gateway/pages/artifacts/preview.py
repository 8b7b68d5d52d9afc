"""What of an artifact's content can be shown, from its type, its name and its first bytes. Pure.

Artifacts are what users' programs wrote. HTML is shown in a frame with an origin of its own, which
reaches nothing of these pages; Markdown is rendered without the HTML in it; images are images even
where their name does not say so.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["LIMIT", "Preview", "preview_of"]

LIMIT: Final = 2 << 20
"""How many bytes are looked at."""

_ROWS: Final = 200
_COLUMNS: Final = 40
_TEXT: Final = 100_000
_MAGIC: Final = (
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"<svg", "image/svg+xml"),
)


@dataclass(frozen=True, slots=True)
class Preview:
    """``kind`` is html, markdown, image, table, text, files, binary or empty."""

    kind: str
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    files: Sequence[Mapping[str, Any]] = field(default=())
    cut: bool = False


def preview_of(data: bytes, schema: str, name: str, *, whole: bool) -> Preview:
    """The preview of a file that begins with ``data``; ``whole`` if there is no more of it."""
    if not data:
        return Preview("empty")
    ending = name.rpartition(".")[2].lower()
    if mime := _image(data, ending):
        if not whole:
            return Preview("binary")
        encoded = base64.b64encode(data).decode()
        return Preview("image", f"data:{mime};base64,{encoded}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 4:
            return Preview("binary")
        text = data[: error.start].decode()
    return _of_text(text, schema, ending, cut=not whole)


def _image(data: bytes, ending: str) -> str:
    start = data.lstrip()[:200]
    if start.startswith(b"RIFF") and b"WEBP" in start[:16]:
        return "image/webp"
    if ending == "svg" or (start.startswith(b"<?xml") and b"<svg" in start):
        return "image/svg+xml"
    return next((mime for magic, mime in _MAGIC if start.startswith(magic)), "")


def _of_text(text: str, schema: str, ending: str, *, cut: bool) -> Preview:
    if schema == "system.HTML" or ending in ("html", "htm"):
        return Preview("html", text, cut=cut)
    if schema == "system.Markdown" or ending in ("md", "markdown"):
        return Preview("markdown", _markdown(text), cut=cut)
    if ending in ("csv", "tsv"):
        return _table(text, "\t" if ending == "tsv" else ",", cut=cut)
    if text.lstrip()[:1] in ("{", "[") and not cut and (found := _json(text)):
        return found
    if _looks_like_csv(text):
        return _table(text, ",", cut=cut)
    return Preview("text", text[:_TEXT], cut=cut or len(text) > _TEXT)


def _markdown(text: str) -> str:
    # Comes with rich.
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return str(renderer.render(text))


def _looks_like_csv(text: str) -> bool:
    """Whether the first lines have the same number of commas, more than none."""
    lines = text.splitlines()[:10]
    counts = {line.count(",") for line in lines}
    return len(lines) > 1 and len(counts) == 1 and counts.pop() > 0


def _table(text: str, delimiter: str, *, cut: bool) -> Preview:
    lines = text.splitlines(keepends=True)
    reader = csv.reader(io.StringIO("".join(lines[: _ROWS + 1])), delimiter=delimiter)
    rows = [row[:_COLUMNS] for row in reader]
    more = cut or len(lines) > _ROWS + 1
    return Preview("table", header=rows[0], rows=rows[1:], cut=more)


def _json(text: str) -> Preview | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        header = list(dict.fromkeys(key for row in value[:_ROWS] for key in row))[:_COLUMNS]
        rows = [[_cell(row.get(key)) for key in header] for row in value[:_ROWS]]
        return Preview("table", header=header, rows=rows, cut=len(value) > _ROWS)
    shown = json.dumps(value, indent=2)
    return Preview("text", shown[:_TEXT], cut=len(shown) > _TEXT)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
