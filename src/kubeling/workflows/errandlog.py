"""What an errand says of itself, which has no container to write a log.

The lines are an artifact of its node, ``main-logs``, whose content stands in the Workflow: so they
are where upstream's tools look for the log of a step whose pod is gone, they are in the archive,
and whoever may read the Workflow reads them. That bounds them: of many lines the first and the last
stay. Each begins with its time, as Kubernetes keeps the lines of containers.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.workflows.places import LOGS
from kubeling.workflows.resources import Artifact

__all__ = ["ErrandLog", "errand_lines", "log_artifact"]

_EACH_END: Final = 40
_LONGEST: Final = 1000


class ErrandLog:
    """Lines as they come; ``publish`` is given all there are when somebody is to see them."""

    def __init__(self, now: Callable[[], dt.datetime], publish: Callable[[str], None]) -> None:
        self._now = now
        self._publish = publish
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_EACH_END)
        self._count = 0

    def say(self, text: str) -> None:
        """Adds a text, of one line or several."""
        time = self._now().astimezone(dt.UTC).isoformat(timespec="microseconds")
        for line in text.splitlines() or [""]:
            self._count += 1
            kept = self._first if len(self._first) < _EACH_END else self._last
            kept.append(f"{time.replace('+00:00', 'Z')} {_short(line)}")

    def publish(self) -> None:
        """Shows what there is: the errand is about to wait."""
        self._publish(self.text)

    @property
    def text(self) -> str:
        """All lines; where some are left out, one says how many."""
        left_out = self._count - len(self._first) - len(self._last)
        lines = [*self._first, *self._last]
        if left_out:
            time = self._last[0].partition(" ")[0]
            lines.insert(_EACH_END, f"{time} … {left_out} lines …")
        return "".join(f"{line}\n" for line in lines)


def log_artifact(text: str) -> Artifact:
    """The lines as an output of a node."""
    return Artifact(name=LOGS, raw={"data": text})


def errand_lines(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of an errand's node with their times; none if it is no errand's."""
    for artifact in (node.get("outputs") or {}).get("artifacts") or ():
        if artifact.get("name") == LOGS and artifact.get("raw") is not None:
            lines = str(artifact["raw"].get("data") or "").splitlines()
            return [(time, text) for time, _, text in (line.partition(" ") for line in lines)]
    return []


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
