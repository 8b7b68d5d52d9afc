"""Connections into a pod, to whatever listens on its loopback address.

A socket belongs to the network it was made in, whoever uses it: made inside the pod's network, it
reaches servers that listen on ``localhost`` only, as notebooks do.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from kubeling.engine.net.pool import NetworkPool, PodNetwork
from kubeling.kube.errors import ServiceUnavailable

__all__ = ["PodConnection", "connect"]

_CHUNK: Final = 1 << 16
_CONNECT_SECONDS: Final = 10.0
_LOOPBACK: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class PodConnection:
    """Implements :class:`~kubeling.engine.node_api.PortConnection`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_CHUNK)
        except OSError as error:
            raise ConnectionError(_reason(error)) from error

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise ConnectionError(_reason(error)) from error

    def write_eof(self) -> None:
        if not self._writer.is_closing():
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.transport.abort()


async def connect(
    port: int, pod: str, networks: NetworkPool | None, network: PodNetwork | None
) -> PodConnection:
    """Connects to a port of a pod, or of this machine where the pod has no network of its own."""
    failure: OSError | None = None
    for family, host in _LOOPBACK:
        try:
            opened = await _socket(family, networks, network)
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await _connected(opened, host, port)
        except OSError as error:
            failure = failure or error
    assert failure is not None
    raise ServiceUnavailable(
        f"error forwarding port {port} to pod {pod}: failed to connect to localhost:{port} inside "
        f"the pod: {_reason(failure)}"
    )


async def _socket(
    family: socket.AddressFamily, networks: NetworkPool | None, network: PodNetwork | None
) -> socket.socket:
    if networks is None or network is None:
        return socket.socket(family)
    return await networks.open_socket(network, family)


async def _connected(opened: socket.socket, host: str, port: int) -> PodConnection:
    opened.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(opened, (host, port))
        return PodConnection(*await asyncio.open_connection(sock=opened))
    except BaseException:
        opened.close()
        raise


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error) or "timed out"
