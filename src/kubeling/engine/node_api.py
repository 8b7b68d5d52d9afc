"""What the engine offers beside the API: logs, commands in containers, what they use.

The embedded API server serves ``pods/log``, ``pods/exec`` and the metrics API from an object with
these methods that the composition root hands it; neither side imports the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ContainerUsage", "ExecSession", "NodeApi", "NodeUsage", "PodUsage"]


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """One container's use: CPU in cores since the last reading, memory in bytes."""

    name: str
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class PodUsage:
    """One pod's use, read at ``timestamp`` over ``window`` seconds."""

    namespace: str
    name: str
    timestamp: dt.datetime
    window: float
    containers: tuple[ContainerUsage, ...]


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """The machine's use."""

    name: str
    timestamp: dt.datetime
    window: float
    cpu: float
    memory: int


class ExecSession(Protocol):
    """A command running in a container. Closing it kills the command if it still runs."""

    async def write(self, data: bytes) -> None:
        """Sends to the command's standard input; returns when it was taken."""
        ...

    def close_stdin(self) -> None:
        """Ends the command's standard input."""
        ...

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yields ``(1, data)`` from standard output and ``(2, data)`` from standard error."""
        ...

    async def wait(self) -> int:
        """The exit code."""
        ...

    async def close(self) -> None: ...


class NodeApi(Protocol):
    """Errors are :class:`kubeling.kube.errors.ApiError`, ready to be answered."""

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since: dt.datetime | None = None,
        timestamps: bool = False,
        limit_bytes: int | None = None,
    ) -> AsyncIterator[bytes]:
        """Yields a container's log; without a name, the pod's only or default container's."""
        ...

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool
    ) -> ExecSession:
        """Starts a command in a running container."""
        ...

    async def pod_usage(self, namespace: str = "") -> list[PodUsage]:
        """What the running pods use (metrics.k8s.io)."""
        ...

    async def node_usage(self) -> NodeUsage: ...
