"""Prints what pods write, each from its beginning, while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["Writers"]

R = TypeVar("R")


class _View(Protocol):
    muted: bool

    def log(self, step: str, line: str) -> None:
        """A line that a step wrote."""
        ...


class Writers(Generic[R]):
    """``pods`` says whose logs are meant as things stand, with a label for each."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        client: Client,
        view: _View,
        pods: Callable[[R], AsyncIterator[tuple[str, Obj]]],
        *,
        wanted: bool,
    ) -> None:
        self._wanted = wanted
        self._group = group
        self._client = client
        self._view = view
        self._pods = pods
        self._known: set[tuple[str, str]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def pressed(self, key: str) -> None:
        """``l`` asks for what is written, and for silence again."""
        if key.lower() == "l":
            self._wanted = not self._wanted

    async def at(self, reading: R) -> None:
        """It has come so far."""
        self._view.muted = not self._wanted
        if self._wanted:
            await self._look(reading)

    async def finish(self, reading: R | None) -> None:
        """Prints the rest of what was written; without a reading, nothing more."""
        if reading is not None and self._wanted:
            await self._look(reading)
            return
        for task in self._tasks:
            task.cancel()

    async def _look(self, reading: R) -> None:
        """Begins with the pods that have begun since."""
        async for label, pod in self._pods(reading):
            containers = [container["name"] for container in pod["spec"]["containers"]]
            for container in containers:
                key = (name(pod), container)
                if key not in self._known and _has_begun(pod):
                    self._known.add(key)
                    title = f"{label}/{container}" if len(containers) > 1 else label
                    work = self._write(pod, container, title)
                    self._tasks.append(self._group.create_task(work))

    async def _write(self, pod: Obj, container: str, label: str) -> None:
        rest = b""
        try:
            async for chunk in self._client.logs(
                name(pod), namespace(pod), container=container, follow=True
            ):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._view.log(label, line.decode(errors="replace"))
        except (ApiError, ConnectionError) as error:
            self._view.log(label, f"(the log ends here: {error})")
        if rest:
            self._view.log(label, rest.decode(errors="replace"))


def _has_begun(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Running", "Succeeded", "Failed")
