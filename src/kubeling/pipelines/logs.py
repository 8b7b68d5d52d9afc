"""The logs of steps, kept beside the artifacts as soon as a step has ended.

A pod's log goes with the pod: when its Run is deleted, when somebody tidies up, when a node is
replaced. So what a step said is copied while the pod is there, in pieces, whatever its size, and
appears whole or not at all. Whoever wants to read a log asks :func:`step_log`: it is the pod's own
while there is a pod, which may still be writing it, and the kept one from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO, Final

from kubeling.artifacts.errors import written_error
from kubeling.artifacts.store import ArtifactStore
from kubeling.component import Context
from kubeling.kube.client import Client
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError, BadRequest, NotFound
from kubeling.kube.objects import Key, Obj, labels, name, namespace
from kubeling.kube.resources import PODS
from kubeling.pipelines.active import store_folder
from kubeling.pipelines.pods import MAIN, RUN_ID

__all__ = ["kept_log", "log_controller", "logs_of_run", "step_log"]

_ENDED: Final = frozenset({"Succeeded", "Failed"})
_PIECE: Final = 1 << 18
_NODE_AWAY: Final = 30.0
"""Seconds after which a node that did not answer is asked again."""


def logs_of_run(artifacts: ArtifactStore, where: str, run_id: str) -> Path:
    """The folder of a run's logs."""
    return Path(store_folder(artifacts, where)) / ".logs" / run_id


def kept_log(artifacts: ArtifactStore, where: str, run_id: str, pod: str) -> Path:
    """Where the log of a pod is kept; without the run's id, of whichever run it is."""
    if run_id:
        return logs_of_run(artifacts, where, run_id) / f"{pod}.log"
    found = logs_of_run(artifacts, where, "").glob(f"*/{pod}.log")
    return next(found, Path(store_folder(artifacts, where)) / ".logs" / f"{pod}.log")


async def step_log(
    client: Client,
    artifacts: ArtifactStore,
    where: str,
    pod: str,
    *,
    run_id: str = "",
    container: str = MAIN,
    follow: bool = False,
) -> AsyncIterator[bytes]:
    """What a step said, in pieces; raises :class:`NotFound` if nothing is left of it."""
    try:
        async for piece in client.logs(pod, where, container=container, follow=follow):
            yield piece
        return
    except NotFound:
        path = await asyncio.to_thread(kept_log, artifacts, where, run_id, pod)
        if not path.exists():
            raise
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece


def log_controller(context: Context) -> Controller:
    """Keeps the logs of steps that have ended."""
    return Controller("pipeline-log", PODS, LogKeeper(context).reconcile, workers=2)


class LogKeeper:
    """Copies logs; one that is there already is whole."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods = context.informers.of(PODS)
        self._kept: set[str] = set()

    async def reconcile(self, key: Key) -> Result | None:
        """Keeps the log of one pod, if it is a step's and has ended."""
        pod = self._pods.get(*key)
        if pod is None:
            self._kept.discard(key.name)
            return None
        run_id = labels(pod).get(RUN_ID)
        if not run_id or key.name in self._kept or not _has_ended(pod):
            return None
        path = kept_log(self._context.artifacts, key.namespace, run_id, key.name)
        try:
            await self._keep(pod, path)
        except (ApiError, ConnectionError):
            return Result(_NODE_AWAY)
        except OSError as error:
            raise written_error(path, error) from error
        self._kept.add(key.name)
        return None

    async def _keep(self, pod: Obj, path: Path) -> None:
        if await asyncio.to_thread(path.exists):
            return
        pieces = self._context.client.logs(name(pod), namespace(pod), container=MAIN)
        log = _LogFile(path)
        held: list[bytes] = []
        with contextlib.closing(log):
            # A pod that never started has no log to lose.
            with contextlib.suppress(NotFound, BadRequest):
                async for piece in pieces:
                    held.append(piece)
                    if sum(map(len, held)) >= _PIECE:
                        await asyncio.to_thread(log.write, held)
                        held = []
            await asyncio.to_thread(log.finish, held)


class _LogFile:
    """A file that is there when it is whole; closed before, it leaves nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scratch = path.with_suffix(".part")
        self._file: BinaryIO | None = None

    def write(self, pieces: Iterable[bytes]) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._scratch.open("wb")
        self._file.writelines(pieces)

    def finish(self, pieces: Iterable[bytes]) -> None:
        self.write(pieces)
        if self._file is not None:
            self._file.close()
        self._scratch.replace(self._path)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._scratch.unlink(missing_ok=True)


def _has_ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in _ENDED
