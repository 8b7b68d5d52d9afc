"""A websocket through a proxy: of a Service or Pod, as notebooks use them, or of an APIService."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from kubeling.apiserver.channels import until_one_ends

__all__ = ["pass_socket_on"]

_HANDSHAKE: Final = "sec-websocket-"
_LARGEST_MESSAGE: Final = 32 << 20

_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def pass_socket_on(
    session: aiohttp.ClientSession,
    request: web.BaseRequest,
    url: URL,
    headers: Mapping[str, str],
    context: ssl.SSLContext | bool = False,
    server_hostname: str | None = None,
) -> web.StreamResponse:
    """Carries messages both ways until one side closes.

    The far side is asked first: what it refuses is raised before the client has an answer.
    """
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    protocols = [name.strip() for name in offered.split(",") if name.strip()]
    kept = {k: v for k, v in headers.items() if not k.lower().startswith(_HANDSHAKE)}
    async with session.ws_connect(
        url,
        headers=kept,
        protocols=protocols,
        max_msg_size=_LARGEST_MESSAGE,
        ssl=context,
        server_hostname=server_hostname,
    ) as far:
        near = web.WebSocketResponse(
            protocols=[far.protocol] if far.protocol else (),
            compress=False,
            max_msg_size=_LARGEST_MESSAGE,
        )
        await near.prepare(request)
        await until_one_ends(_one_way(near, far), _one_way(far, near))
        code = far.close_code or near.close_code or aiohttp.WSCloseCode.OK
        await near.close(code=code)
    return near


async def _one_way(source: _Socket, target: _Socket) -> None:
    async for message in source:
        if message.type is WSMsgType.BINARY:
            await target.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await target.send_str(message.data)
