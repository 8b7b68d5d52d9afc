"""The gateway's port: what a connection begins with decides who speaks with the client.

HTTP/1 is the application's. Before it, components may take a connection over, by its first bytes:
so gRPC has the same address as everything else, as at an ingress gateway.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final, cast

from aiohttp import web

from kubeling.component import Component, ConnectionTaker, Context
from kubeling.proxying.http2.preface import PREFACE

__all__ = ["DoorSite", "takers_of"]

_BACKLOG: Final = 1024


def takers_of(context: Context, components: Sequence[Component]) -> list[ConnectionTaker]:
    """What the components take of connections."""
    return [taker for c in components if (taker := c.connection_taker(context)) is not None]


class DoorSite(web.BaseSite):
    """A listening socket, with the takers asked before the application."""

    def __init__(
        self,
        runner: web.AppRunner,
        listener: socket.socket,
        takers: Sequence[ConnectionTaker],
        drain_seconds: float = 1.0,
    ) -> None:
        super().__init__(runner, backlog=_BACKLOG)
        self._drain_seconds = drain_seconds
        self._listener = listener
        self._takers = takers

    @property
    def name(self) -> str:
        """The address, as logs show it."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Listens."""
        await super().start()
        application = self._runner.server
        assert application is not None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Arrival(self._takers, application), sock=self._listener, backlog=_BACKLOG
        )

    async def stop(self) -> None:
        """Listens no more, and lets what the takers answer come to its end."""
        await super().stop()
        async with asyncio.TaskGroup() as group:
            for taker in self._takers:
                group.create_task(taker.drained(self._drain_seconds))


class _Arrival(asyncio.Protocol):
    """A connection nobody speaks with yet."""

    def __init__(
        self, takers: Sequence[ConnectionTaker], application: Callable[[], asyncio.Protocol]
    ) -> None:
        self._takers = takers
        self._application = application
        self._beginning = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._beginning += data
        if len(self._beginning) < len(PREFACE) and PREFACE.startswith(self._beginning):
            return
        assert self._transport is not None
        taken = (
            found for t in self._takers if (found := t.takes(self._beginning, self._application))
        )
        protocol = next(taken, None) or self._application()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._beginning)
