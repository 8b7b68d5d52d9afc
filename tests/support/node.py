"""A node without an engine: a pod's log is what a test writes, commands run on this machine."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from kubeling.apiserver.node import LogStream
from kubeling.kube.errors import BadRequest, ServiceUnavailable


@dataclass
class Log:
    """What a container has written; readers that follow see more as it comes."""

    lines: list[bytes] = field(default_factory=list)
    ended: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def write(self, *lines: str, end: bool = False) -> None:
        async with self.changed:
            self.lines += [line.encode() + b"\n" for line in lines]
            self.ended = self.ended or end
            self.changed.notify_all()


@dataclass(frozen=True)
class Usage:
    """One container's use."""

    name: str
    cpu: float
    memory: int


@dataclass(frozen=True)
class PodUsage:
    """One pod's use."""

    namespace: str
    name: str
    timestamp: dt.datetime
    window: float
    containers: tuple[Usage, ...]


@dataclass(frozen=True)
class NodeUsage:
    """A machine's use."""

    name: str
    timestamp: dt.datetime
    window: float
    cpu: float
    memory: int


class Session:
    """A command on this machine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        """A command with pipes has no size."""

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        pieces: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

        async def read(channel: int, stream: asyncio.StreamReader) -> None:
            while data := await stream.read(65536):
                await pieces.put((channel, data))
            await pieces.put((channel, b""))

        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with asyncio.TaskGroup() as group:
            group.create_task(read(1, self._process.stdout))
            group.create_task(read(2, self._process.stderr))
            open_streams = 2
            while open_streams:
                channel, data = await pieces.get()
                if data:
                    yield channel, data
                else:
                    open_streams -= 1

    async def wait(self) -> int:
        return await self._process.wait()

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Connection:
    """A connection to a port of this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(65536)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def write_eof(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.transport.abort()


class HostNode:
    """Implements the server's ``NodeApi`` on this machine."""

    def __init__(self) -> None:
        self.containers: dict[tuple[str, str], Log] = {}
        self.processes: list[asyncio.subprocess.Process] = []
        self.connections: list[Connection] = []

    def log(self, pod: str, container: str = "main") -> Log:
        """The log of a container, which exists from now on."""
        return self.containers.setdefault((pod, container), Log())

    async def logs(
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
        names = [c for p, c in self.containers if p == pod]
        if not container and len(names) > 1:
            raise BadRequest(
                f"a container name must be specified for pod {pod}, choose one of: {names}"
            )
        log = self.containers.get((pod, container or (names or [""])[0]))
        if log is None:
            raise BadRequest(f'container "{container or pod}" is waiting to start')
        position = 0 if tail_lines is None else max(len(log.lines) - tail_lines, 0)
        while True:
            async with log.changed:
                if position == len(log.lines):
                    if log.ended or not follow:
                        return
                    await log.changed.wait()
                    continue
                line = log.lines[position]
            position += 1
            yield line

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool = False,
        tty: bool = False,
    ) -> Session:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe if stdin else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        )
        self.processes.append(process)
        return Session(process)

    async def attach(
        self, namespace: str, pod: str, container: str, *, stdin: bool = False
    ) -> Session:
        raise BadRequest(f"container {container} of pod {pod} is not running")

    async def port_forward(self, namespace: str, pod: str, port: int) -> Connection:
        try:
            connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
        except OSError as error:
            raise ServiceUnavailable(f"nothing listens on port {port} of {pod}") from error
        self.connections.append(connection)
        return connection

    async def pod_usage(self, namespace: str = "") -> list[PodUsage]:
        now = dt.datetime.now(dt.UTC)
        use = (Usage("main", 0.25, 64 << 20),)
        return [PodUsage("default", pod, now, 15.0, use) for pod, _ in self.containers]

    async def node_usage(self) -> NodeUsage:
        return NodeUsage("node", dt.datetime.now(dt.UTC), 15.0, 1.5, 4 << 30)
