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
_SILENT_SECONDS: Final = 75.0
"""How long a connection may say nothing; as long as many servers keep one."""


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
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        super().__init__(runner, backlog=_BACKLOG)
        self._silent = _Silent(silent_seconds)
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
            lambda: _Arrival(self._takers, application, self._silent),
            sock=self._listener,
            backlog=_BACKLOG,
        )

    async def stop(self) -> None:
        """Listens no more, and lets what the takers answer come to its end."""
        await super().stop()
        self._silent.end()
        async with asyncio.TaskGroup() as group:
            for taker in self._takers:
                group.create_task(taker.drained(self._drain_seconds))


class _Silent:
    """The connections nobody speaks with yet: each for a while, and none once the port is closed,
    because the takers would not know of it when they ask their clients to leave.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ended = False
        self._timers: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def came(self, transport: asyncio.Transport) -> None:
        if self._ended:
            transport.close()
            return
        loop = asyncio.get_running_loop()
        self._timers[transport] = loop.call_later(self._seconds, transport.close)

    def left(self, transport: asyncio.Transport) -> None:
        """It has spoken, or is gone."""
        if timer := self._timers.pop(transport, None):
            timer.cancel()

    def end(self) -> None:
        self._ended = True
        for transport in list(self._timers):
            transport.close()


class _Arrival(asyncio.Protocol):
    """A connection nobody speaks with yet."""

    def __init__(
        self,
        takers: Sequence[ConnectionTaker],
        application: Callable[[], asyncio.Protocol],
        silent: _Silent,
    ) -> None:
        self._takers = takers
        self._application = application
        self._silent = silent
        self._beginning = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._silent.came(self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        if self._transport is not None:
            self._silent.left(self._transport)

    def data_received(self, data: bytes) -> None:
        self._beginning += data
        if len(self._beginning) < len(PREFACE) and PREFACE.startswith(self._beginning):
            return
        assert self._transport is not None
        if self._transport.is_closing():
            return
        self._silent.left(self._transport)
        taken = (
            found for t in self._takers if (found := t.takes(self._beginning, self._application))
        )
        protocol = next(taken, None) or self._application()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._beginning)
