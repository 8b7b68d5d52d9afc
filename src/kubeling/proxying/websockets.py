"""A WebSocket in two parts: what either side says is passed on until one ends.

Both sides are sent a ping now and then, so that one whose machine is gone is noticed, and what
stands between does not take a quiet connection for a dead one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from ssl import SSLContext
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

__all__ = ["connected", "is_websocket", "joined"]

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse

_CLOSE_SECONDS: Final = 5.0
_HEARTBEAT_SECONDS: Final = 30.0
_HANDSHAKE: Final = "sec-websocket-"


def is_websocket(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for a WebSocket."""
    return headers.get("Upgrade", "").lower() == "websocket"


async def connected(
    session: aiohttp.ClientSession,
    request: web.BaseRequest,
    url: str | URL,
    headers: Mapping[str, str],
    *,
    largest: int = 0,
    ssl: SSLContext | bool = True,
    server_hostname: str | None = None,
) -> aiohttp.ClientWebSocketResponse:
    """The far side, asked first: what it refuses is raised before the client has an answer.

    ``headers`` are those to pass on; the handshake's are made anew, with the client's protocols.
    """
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    return await session.ws_connect(
        url,
        protocols=[stripped for one in offered if (stripped := one.strip())],
        headers={k: v for k, v in headers.items() if not k.lower().startswith(_HANDSHAKE)},
        max_msg_size=largest,
        heartbeat=_HEARTBEAT_SECONDS,
        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
        ssl=ssl,
        server_hostname=server_hostname,
    )


async def joined(
    request: web.BaseRequest,
    far: aiohttp.ClientWebSocketResponse,
    *,
    headers: Mapping[str, str] | None = None,
    largest: int = 0,
) -> web.WebSocketResponse:
    """Answers the client with a WebSocket, and joins it with the far side until one ends."""
    near = web.WebSocketResponse(
        protocols=[far.protocol] if far.protocol else [],
        compress=False,
        max_msg_size=largest,
        heartbeat=_HEARTBEAT_SECONDS,
    )
    near.headers.update(headers or {})
    async with far:
        await near.prepare(request)
        await _in_both_ways(near, far)
    return near


async def _in_both_ways(near: web.WebSocketResponse, far: aiohttp.ClientWebSocketResponse) -> None:
    ways = {
        asyncio.create_task(_passed_on(near, far)),
        asyncio.create_task(_passed_on(far, near)),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        with suppress(ConnectionError, ValueError):
            await near.close(code=far.close_code or aiohttp.WSCloseCode.GOING_AWAY)
        with suppress(ConnectionError, ValueError):
            await far.close(code=near.close_code or aiohttp.WSCloseCode.GOING_AWAY)


async def _passed_on(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
