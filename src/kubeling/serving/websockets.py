"""WebSockets through the inference gateway: what either side says is passed on until one ends.

They count as one request of their revision, however long they last, so that a service with clients
on them neither rests nor loses its pod's place. The service's timeout does not end them: it is
meant for an answer, and there is none to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp
from aiohttp import web

from kubeling.serving import proxying

__all__ = ["is_websocket", "passed_through"]

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse

_CLOSE_SECONDS: Final = 5.0
_GOING_AWAY: Final = 1001


def is_websocket(request: web.Request) -> bool:
    """Whether a client asks for a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def passed_through(
    request: web.Request,
    session: aiohttp.ClientSession,
    url: str,
    revision: str,
    answered: Callable[[int], None],
) -> web.StreamResponse:
    """Joins the client with a pod, or says why the pod would not.

    ``answered`` is told the pod's status as soon as there is one. Raises
    :data:`~.proxying.UNREACHED` for a pod that cannot be reached at all.
    """
    wanted = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    headers = {
        key: value
        for key, value in proxying.request_headers(request).items()
        if not key.lower().startswith("sec-websocket-") and key.lower() != "host"
    }
    try:
        pod = await session.ws_connect(
            url,
            protocols=[stripped for protocol in wanted if (stripped := protocol.strip())],
            headers=headers,
            max_msg_size=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
        )
    except aiohttp.WSServerHandshakeError as refused:
        answered(refused.status)
        return proxying.error(refused.status, f"{revision} takes no WebSocket here", revision)
    except proxying.UNREACHED:
        raise
    except (aiohttp.ClientError, TimeoutError) as broken:
        answered(502)
        said = str(broken) or type(broken).__name__
        return proxying.error(502, f"{revision} broke off: {said}", revision)
    answered(101)
    async with pod:
        chosen = [pod.protocol] if pod.protocol else []
        client = web.WebSocketResponse(protocols=chosen, max_msg_size=0)
        client.headers[proxying.REVISION_HEADER] = revision
        await client.prepare(request)
        await _joined(client, pod)
        return client


async def _joined(client: web.WebSocketResponse, pod: aiohttp.ClientWebSocketResponse) -> None:
    """Passes messages both ways until one side ends, and ends the other the same way."""
    ways = {
        asyncio.create_task(_passed_on(client, pod)),
        asyncio.create_task(_passed_on(pod, client)),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        with suppress(ConnectionError, ValueError):
            await client.close(code=pod.close_code or _GOING_AWAY)
        with suppress(ConnectionError, ValueError):
            await pod.close(code=client.close_code or _GOING_AWAY)


async def _passed_on(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
