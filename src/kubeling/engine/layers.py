"""The agent's end of the layers that containers change (:mod:`.sandbox.layers`).

They are an optimisation: wherever one cannot be had, the container makes its own view of the
machine's files in its folder.
"""

from __future__ import annotations

import asyncio
import logging
import marshal
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from kubeling.engine.launcher import Launcher, LaunchError
from kubeling.engine.sandbox.plan import LaunchPlan, Mount, Root

__all__ = ["Layer", "Layers"]

log = logging.getLogger(__name__)

_LARGEST: Final = 65536
_MAX_FILES: Final = 64
_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_ELSEWHERE: Final = ("/dev/", "/proc/", "/sys/")

Wanted: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer lent to one container; ``files`` are for its supervisor."""

    folder: Path
    files: Sequence[int]

    def handed_over(self) -> None:
        """The supervisor has the files, or nobody will."""
        for file in self.files:
            os.close(file)


class Layers:
    """Lends layers, from a process that is started when the first is asked for."""

    def __init__(self, launcher: Launcher, folder: Path) -> None:
        self._launcher = launcher
        self._folder = folder
        self._keeper: socket.socket | None = None
        self._asking = asyncio.Lock()
        self._lent: dict[str, Path] = {}
        self._useless = False

    async def furnish(self, plan: LaunchPlan, root: Root) -> Layer | None:
        """Takes a layer for a container and writes it into its plan; ``None`` if there is none."""
        wanted = _wanted(plan["mounts"])
        if self._useless or not root["whole"] or root["in_memory"] or len(wanted[0]) >= _MAX_FILES:
            return None
        async with self._asking:
            try:
                layer = await self._ask(wanted)
            except (OSError, LaunchError) as error:
                log.warning("containers make layers of their own: %s", error)
                self._useless = True
                return None
        self._lent[plan["directory"]] = layer.folder
        root["directory"] = str(layer.folder)
        for mount in plan["mounts"]:
            if mount["target"] == "/tmp":
                mount["source"] = str(layer.folder / "tmp")
                break
        return layer

    def give_back(self, owner: Path, *, reuse: bool) -> bool:
        """The container has ended that runs from the folder; returns whether it had a layer.

        With ``reuse`` nothing is left of it that could change the layer now.
        """
        folder = self._lent.pop(str(owner), None)
        if folder is None:
            return False
        if self._keeper is not None:
            try:
                self._keeper.send(marshal.dumps(("give back", (str(folder), reuse))))
            except OSError:
                self.close()  # the layer is removed by the next keeper
        return True

    def close(self) -> None:
        """Lets the keeper end."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    async def _ask(self, wanted: Wanted) -> Layer:
        request = marshal.dumps(("take", wanted))
        loop = asyncio.get_running_loop()
        for _ in range(2):
            if self._keeper is None:
                self._keeper = await self._launcher.keep_layers(self._folder)
            try:
                await loop.sock_sendall(self._keeper, request)
                return await self._receive(self._keeper)
            except ConnectionError:
                self.close()  # nothing was asked of it for long
        raise LaunchError("the keeper of layers ends at once")

    async def _receive(self, keeper: socket.socket) -> Layer:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(keeper.fileno(), readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(keeper.fileno())
        data, files, _, _ = socket.recv_fds(keeper, _LARGEST, _MAX_FILES, _CLOSE_ON_EXEC)
        if not data:
            raise ConnectionResetError
        answer: dict[str, Any] = marshal.loads(data)
        if "error" in answer:
            raise LaunchError(str(answer["error"]))
        return Layer(Path(answer["folder"]), files)


def _wanted(mounts: Sequence[Mount]) -> Wanted:
    """What the views of a container show, the root first, and the folders that it is mounted on."""
    lowers = ["/", *(mount["source"] for mount in mounts if mount["kind"] == "copy")]
    points = {mount["target"] for mount in mounts if _is_point(mount)}
    return tuple(lowers), tuple(sorted(points))


def _is_point(mount: Mount) -> bool:
    if f"{mount['target']}/".startswith(_ELSEWHERE) or mount["target"] == "/tmp":
        return False
    return mount["kind"] in ("copy", "tmpfs") or (
        mount["kind"] == "bind" and os.path.isdir(mount["source"])
    )
