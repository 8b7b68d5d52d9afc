"""What is to be said of a revision that does not come up: a log's end, and what to try."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubeling.gateway.models.progress import Progress, newest_pods
from kubeling.gateway.models.skew import skew_of
from kubeling.kube.advice import advice
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["Explanation", "explain", "local_place"]

_TAIL: Final = 60
_TRACEBACK: Final = "Traceback (most recent call last)"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The last lines that a failed container wrote, and what to try."""

    log: tuple[str, ...] = ()
    hint: str = ""

    def tail(self, lines: int) -> tuple[str, ...]:
        """The end of the log; the whole of its last traceback, if that is not much longer."""
        begins = [index for index, line in enumerate(self.log) if _TRACEBACK in line]
        start = max(len(self.log) - lines, 0)
        if begins and len(self.log) - begins[-1] <= 2 * lines:
            start = min(start, begins[-1])
        return self.log[start:]


async def explain(
    client: Client, progress: Progress, pods: Iterable[Obj], place: Path | None
) -> Explanation:
    """Why the newest revision does not come up; ``place`` is where its model lies, if here."""
    log: Sequence[str] = ()
    for pod in newest_pods(progress.revision, pods)[:1]:
        log = await _log_of(client, pod)
    # The file may be of any size.
    skew = await asyncio.to_thread(skew_of, "\n".join(log), place)
    hint = str(skew) if skew else advice(progress.doing) or advice("\n".join(log))
    return Explanation(tuple(log), hint)


def local_place(isvc: Obj) -> Path | None:
    """Where on this machine the model lies, if its address is a path."""
    model = isvc["spec"]["predictor"].get("model") or {}
    uri = str(model.get("storageUri") or "").removeprefix("file://")
    return Path(uri) if uri.startswith("/") else None


async def _log_of(client: Client, pod: Obj) -> list[str]:
    """What its failed container wrote, be it the one before: a restarted one says nothing yet."""
    container = _failed_container(pod)
    for previous in (True, False):
        chunks = bytearray()
        try:
            async for chunk in client.logs(
                name(pod), namespace(pod), container=container, previous=previous, tail_lines=_TAIL
            ):
                chunks += chunk
        except ApiError:
            continue
        if chunks.strip():
            return chunks.decode(errors="replace").splitlines()
    return []


def _failed_container(pod: Obj) -> str:
    status = pod.get("status") or {}
    for entry in status.get("initContainerStatuses") or ():
        ended = (entry.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode") != 0:
            return str(entry["name"])
    for entry in status.get("containerStatuses") or ():
        if not entry.get("ready"):
            return str(entry["name"])
    return str(pod["spec"]["containers"][0]["name"])
