"""What the server asks of the node: logs, commands in containers, what they use.

The composition root hands in whoever runs the pods; neither side imports the other, so the shapes
are stated here as protocols. Errors are :class:`~kubeling.kube.errors.ApiError`, ready to be
answered.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

__all__ = ["ContainerUsage", "ExecSession", "NodeApi", "NodeUsage", "PodUsage"]


class ContainerUsage(Protocol):
    """One container's use: CPU in cores, memory in bytes."""

    @property
    def name(self) -> str: ...
    @property
    def cpu(self) -> float: ...
    @property
    def memory(self) -> int: ...


class PodUsage(Protocol):
    """One pod's use, read at ``timestamp`` over ``window`` seconds."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def timestamp(self) -> dt.datetime: ...
    @property
    def window(self) -> float: ...
    @property
    def containers(self) -> Sequence[ContainerUsage]: ...


class NodeUsage(Protocol):
    """A machine's use."""

    @property
    def name(self) -> str: ...
    @property
    def timestamp(self) -> dt.datetime: ...
    @property
    def window(self) -> float: ...
    @property
    def cpu(self) -> float: ...
    @property
    def memory(self) -> int: ...


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
    """Whoever runs the pods."""

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

    async def pod_usage(self, namespace: str = "") -> Sequence[PodUsage]:
        """What the running pods use."""
        ...

    async def node_usage(self) -> NodeUsage: ...
