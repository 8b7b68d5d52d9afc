"""``pods/exec``: a command in a container over a websocket (``v5`` and ``v4`` of the protocol).

Each binary message begins with the number of its channel: 0 input, 1 output, 2 errors, 3 the
outcome as a ``Status``, 4 the terminal's size, and in ``v5`` 255, which closes another channel.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import msgspec
from aiohttp import WSMsgType, web

from kubeling.apiserver.node import ExecSession, NodeApi
from kubeling.apiserver.options import truthy
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ConnectionAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.kube.errors import ApiError, BadRequest, ServiceUnavailable
from kubeling.kube.objects import Obj

__all__ = ["ExecHandler"]

_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _OUTCOME, _CLOSE = 0, 1, 2, 3, 255


class ExecHandler:
    """Runs commands in the containers of pods."""

    def __init__(self, registry: Registry, node: NodeApi | None) -> None:
        self._registry = registry
        self._node = node

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        self._registry.get(served, target.namespace, target.name)
        if self._node is None:
            raise ServiceUnavailable("no node runs here: nothing can be executed")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise BadRequest("unable to upgrade: websocket is the protocol spoken here")
        query = request.query
        command = query.all("command")
        if not command:
            raise BadRequest("you must specify at least one command for the container")
        session = await self._node.exec(
            target.namespace,
            target.name,
            query.get("container", ""),
            command,
            stdin=truthy(query, "stdin"),
        )
        wanted = {
            channel
            for channel, name in ((_STDOUT, "stdout"), (_STDERR, "stderr"))
            if truthy(query, name)
        }

        async def serve(connection: web.BaseRequest) -> web.StreamResponse:
            return await _serve(session, connection, wanted)

        return ConnectionAnswer(serve)


async def _serve(
    session: ExecSession, request: web.BaseRequest, wanted: set[int]
) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=_PROTOCOLS, autoping=True, heartbeat=30.0)
    try:
        await socket.prepare(request)
        reader = asyncio.create_task(_read(session, socket))
        try:
            async for channel, data in session.output():
                if channel in wanted:
                    await socket.send_bytes(bytes([channel]) + data)
            outcome = _outcome(await session.wait())
            await socket.send_bytes(bytes([_OUTCOME]) + msgspec.json.encode(outcome))
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
    finally:
        await session.close()
        with contextlib.suppress(ConnectionError):
            await socket.close()
    return socket


async def _read(session: ExecSession, socket: web.WebSocketResponse) -> None:
    """Passes input on; a client that goes away ends the command."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == _STDIN and data:
            try:
                await session.write(data)
            except (ConnectionError, ApiError):
                # The command does not read any more; its outcome follows.
                return
        elif channel == _CLOSE and data[:1] == bytes([_STDIN]):
            session.close_stdin()
    await session.close()


def _outcome(code: int) -> Obj:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
