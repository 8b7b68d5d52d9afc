"""Metrics of several processes as those of one, whose counters never go down.

A worker writes down what it shows before it shows it. The next one with its number goes on from
there, and while there is none, what is written down stands for it; so what was counted since it was
last asked is lost with a worker, and nothing that anybody has seen.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubeling.serving.server import http
from kubeling.serving.server.http import Handler, Request, Response

__all__ = ["Ledger", "is_scrape", "merged"]

log = logging.getLogger(__name__)

_LASTING: Final = ("counter", "histogram", "summary")


class Ledger:
    """What one worker after another showed, at a place that is theirs alone."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._before = self.lasting()

    def around(self, handler: Handler) -> Handler:
        """Answers for metrics with what the workers before this one counted, too."""

        async def answer(request: Request) -> Response | http.StreamedResponse:
            found = await handler(request)
            if isinstance(found, Response) and found.status == 200 and is_scrape(request):
                found.body = merged([found.body, self._before])
                self._write(found.body)
            return found

        return answer

    def lasting(self) -> bytes:
        """What was shown last, without what only holds of a process that runs."""
        with contextlib.suppress(FileNotFoundError):
            return _lasting(self._place.read_bytes())
        return b""

    def _write(self, shown: bytes) -> None:
        new = self._place.with_suffix(".new")
        try:
            new.write_bytes(shown)
            new.replace(self._place)
        except OSError as error:
            log.warning("if this worker ends, its counts are lost: %s", error)


def is_scrape(request: Request) -> bool:
    """Whether it asks for metrics."""
    return request.path == "/metrics" and request.method == "GET"


def merged(texts: Sequence[bytes]) -> bytes:
    """Series of one name and labels are added up."""
    comments: dict[str, dict[str, None]] = {}
    series: dict[str, dict[str, float]] = {}
    for text in texts:
        family = ""
        for line in text.decode().splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                comments.setdefault(family, {})[line] = None
            elif line:
                name, _, value = line.rpartition(" ")
                found = series.setdefault(family, {})
                found[name] = found.get(name, 0.0) + float(value)
    lines: list[str] = []
    for family, about in comments.items():
        lines += about
        lines += [f"{name} {value:.15g}" for name, value in series.get(family, {}).items()]
    return ("\n".join(lines) + "\n").encode()


def _lasting(text: bytes) -> bytes:
    """The families that only grow, with their comments."""
    kinds: dict[str, str] = {}
    lines: list[tuple[str, str]] = []
    family = ""
    for line in text.decode().splitlines():
        if line.startswith("#"):
            _, what, family, said = line.split(" ", 3)
            if what == "TYPE":
                kinds[family] = said
        lines.append((family, line))
    return "".join(f"{line}\n" for family, line in lines if kinds.get(family) in _LASTING).encode()
