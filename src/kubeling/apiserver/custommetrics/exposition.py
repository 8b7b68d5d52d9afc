"""The text format in which programs expose their metrics. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/: a line a series, names, labels,
value, and a time that nobody needs here. Lines that are none are passed over, as what cannot be
read of one metric should not hide the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Labels", "Series", "parse_exposition"]

Labels = tuple[tuple[str, str], ...]

_LINE: Final = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(?P<labels>.*)\})?\s*"
    r"(?P<value>[^\s{}]+)(?:\s+-?\d+)?(?:\s+#.*)?"
)
_LABEL: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPE: Final = re.compile(r"\\(.)")


class Series(NamedTuple):
    """One line: labels sorted, so that the same series compares equal."""

    name: str
    labels: Labels
    value: float


def parse_exposition(text: str) -> Iterator[Series]:
    """The series of an exposition."""
    for line in text.split("\n"):
        if (found := _LINE.fullmatch(line.strip())) is None:
            continue
        try:
            value = float(found["value"])
        except ValueError:
            continue
        yield Series(found["name"], _labels(found["labels"] or ""), value)


def _labels(text: str) -> Labels:
    pairs = ((key, _ESCAPE.sub(_unescaped, value)) for key, value in _LABEL.findall(text))
    return tuple(sorted(pairs))


def _unescaped(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
