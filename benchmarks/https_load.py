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

    async def watch(self, path: str) -> None:
        """Begins a stream of lines, read with :meth:`line`."""
        self.send("GET", path)
        await self._head()

    async def line(self) -> bytes:
        """The next chunk of a stream: one event."""
        size = int(await self.reader.readline(), 16)
        line = await self.reader.readexactly(size)
        await self.reader.readline()
        return line

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
