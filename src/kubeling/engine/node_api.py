"""What the engine offers beside the API: logs, commands in containers, what they use.

The embedded API server serves ``pods/log``, ``pods/exec``, ``pods/attach``, ``pods/portforward``
and the metrics API from an object with these methods that the composition root hands it; neither
side imports the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = [
    "ContainerUsage",
    "ExecSession",
    "LogStream",
    "NodeApi",
    "NodeUsage",
    "PodUsage",
    "PortConnection",
]

LogStream = Literal["All", "Stdout", "Stderr"]
"""Which of a container's two streams to read."""


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
    """A client's part in a command in a container.

    Closing it kills a command that was started for it (:meth:`NodeApi.exec`), and may be done
    while another task uses the session: its input is then taken by nobody, its output has ended.
    """

    async def write(self, data: bytes) -> None:
        """Sends to the command's standard input; returns when it was taken, or never will be."""
        ...

    def close_stdin(self) -> None:
        """Ends the command's standard input, where it is not a terminal."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Tells the size of the client's terminal, where the command has one."""
        ...

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yields ``(1, data)`` from standard output and ``(2, data)`` from standard error.

        No more is read from the command than is taken here.
        """
        ...

    async def wait(self) -> int:
        """The exit code."""
        ...

    async def close(self) -> None: ...


class PortConnection(Protocol):
    """A connection to a port of a pod. Reading and writing raise :class:`ConnectionError`."""

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Sends; returns when there is room for more."""
        ...

    def write_eof(self) -> None:
        """Ends our side; the other may go on."""
        ...

    def close(self) -> None:
        """Ends both; a task that reads meanwhile sees the end."""
        ...


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
        stream: LogStream = "All",
    ) -> AsyncIterator[bytes]:
        """Yields a container's log; without a name, the pod's only or default container's."""
        ...

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool = False,
        tty: bool = False,
    ) -> ExecSession:
        """Starts a command in a running container, with ``tty`` on a terminal of its own."""
        ...

    async def attach(
        self, namespace: str, pod: str, container: str, *, stdin: bool = False
    ) -> ExecSession:
        """Takes part in what runs already; closing the session leaves it running."""
        ...

    async def port_forward(self, namespace: str, pod: str, port: int) -> PortConnection:
        """Connects to what listens on a port of the pod, on its loopback address too."""
        ...

    async def pod_usage(self, namespace: str = "") -> list[PodUsage]:
        """What the running pods use (metrics.k8s.io)."""
        ...

    async def node_usage(self) -> NodeUsage: ...
