"""Clients that cost next to nothing, so that what is measured is the server.

Each is one connection over TLS that is kept alive and sends one request after the other.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens and how it is trusted."""

    url: str
    context: ssl.SSLContext

    async def connect(self) -> Connection:
        where = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(
            where.hostname, where.port, ssl=self.context, limit=2**24
        )
        return Connection(reader, writer)


@dataclass(frozen=True)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Sends a request and gives the answer's body; a refusal raises."""
        self.send(method, path, body)
        head = await self._head()
        answer = await self.reader.readexactly(int(head["content-length"]))
        if not head[":status"].startswith("2"):
            raise RuntimeError(f"{method} {path}: {head[':status']} {answer.decode()}")
        return answer

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    async def close(self) -> None:
        self.writer.close()

    async def _head(self) -> dict[str, str]:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = text.strip().split("\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)
        }
        return {":status": first.split(" ", 1)[1], **fields}


class Audience:
    """Many watches over TLS, each a connection that only notices when it is told something."""

    def __init__(self) -> None:
        self._streams: list[asyncio.Transport] = []
        self._missing = 0
        self._told: asyncio.Future[None] | None = None

    @classmethod
    async def of(cls, endpoint: Endpoint, path: str, count: int) -> Audience:
        """Begins the watches; returns when each knows what there was."""
        audience = cls()
        where = urlsplit(endpoint.url)
        if where.hostname is None or where.port is None:
            raise ValueError(f"{endpoint.url} does not say where to connect")
        address = where.hostname, where.port
        head = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        for _ in range(count):
            told = audience.expect(1)
            stream, _ = await asyncio.get_running_loop().create_connection(
                lambda: _Listener(audience), *address, ssl=endpoint.context
            )
            stream.write(head)
            audience._streams.append(stream)
            await told
        return audience

    def expect(self, count: int = 0) -> asyncio.Future[None]:
        """Done when so many, or all, were told once more."""
        self._missing = count or len(self._streams)
        self._told = asyncio.get_running_loop().create_future()
        return self._told

    def heard(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._told is not None:
            self._told.set_result(None)

    def close(self) -> None:
        for stream in self._streams:
            stream.abort()


class _Listener(asyncio.Protocol):
    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}\n\r\n"):
            self._audience.heard()


def config_map(name: str) -> bytes:
    """One of 1 KB."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"text": "x" * 900},
    }
    return msgspec.json.encode(body)


async def rate(
    endpoint: Endpoint,
    clients: int,
    count: int,
    send: Callable[[Connection, int], Awaitable[bytes]],
) -> float:
    """Requests a second when ``clients`` share ``count`` of them."""
    connections = [await endpoint.connect() for _ in range(clients)]
    numbers = iter(range(count))
    began = time.perf_counter()
    await asyncio.gather(*(_work(connection, numbers, send) for connection in connections))
    elapsed = time.perf_counter() - began
    for connection in connections:
        await connection.close()
    return count / elapsed


async def _work(
    connection: Connection,
    numbers: Iterator[int],
    send: Callable[[Connection, int], Awaitable[bytes]],
) -> None:
    for number in numbers:
        await send(connection, number)
