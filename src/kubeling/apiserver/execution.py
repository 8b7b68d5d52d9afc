"""``pods/exec`` and ``pods/attach``: a client's part in a command, over a websocket.

The channels are 0 input, 1 output, 2 errors, 3 the outcome as a ``Status``, 4 the terminal's size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from kubeling.apiserver.channels import (
    CLOSE,
    EXEC_PROTOCOLS,
    ChannelSocket,
    keep_alive,
    open_socket,
    until_one_ends,
)
from kubeling.apiserver.node import ExecSession, NodeApi
from kubeling.apiserver.options import truthy
from kubeling.apiserver.query import Query
from kubeling.apiserver.refusal import refusal
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ConnectionAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.kube.errors import ApiError, BadRequest, ServiceUnavailable
from kubeling.kube.objects import Obj
from kubeling.proxying.websockets import is_websocket

__all__ = ["ExecHandler"]

_STDIN, _STDOUT, _STDERR, _OUTCOME, _RESIZE = range(5)
_CHANNELS: Final = {"stdin": _STDIN, "stdout": _STDOUT, "stderr": _STDERR}


class ExecHandler:
    """Runs commands in the containers of pods, and lets clients take part in what runs."""

    def __init__(self, registry: Registry, node: NodeApi | None) -> None:
        self._registry = registry
        self._node = node

    async def exec(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``pods/exec``."""
        node, query, wanted = self._asked(served, target, request)
        command = query.all("command")
        if not command:
            raise BadRequest("you must specify at least one command for the container")

        async def start() -> ExecSession:
            return await node.exec(
                target.namespace,
                target.name,
                query.get("container", ""),
                command,
                stdin=_STDIN in wanted,
                tty=truthy(query, "tty"),
            )

        return _connection(start, wanted)

    async def attach(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``pods/attach``."""
        node, query, wanted = self._asked(served, target, request)

        async def start() -> ExecSession:
            container = query.get("container", "")
            stdin = _STDIN in wanted
            return await node.attach(target.namespace, target.name, container, stdin=stdin)

        return _connection(start, wanted)

    def _asked(
        self, served: Served, target: Target, request: ApiRequest
    ) -> tuple[NodeApi, Query, set[int]]:
        """The node, the options, and the channels the client wants."""
        pod = self._registry.get(served, target.namespace, target.name)
        query = request.query
        if self._node is None:
            raise ServiceUnavailable("no node runs here: nothing can be executed")
        if not is_websocket(request.headers):
            raise refusal(pod, query.get("container", ""))
        wanted = {channel for name, channel in _CHANNELS.items() if truthy(query, name)}
        if not wanted:
            raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
        return self._node, query, wanted


def _connection(start: Callable[[], Awaitable[ExecSession]], wanted: set[int]) -> ConnectionAnswer:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        session = await start()
        try:
            opened = await open_socket(request, EXEC_PROTOCOLS)
            # The client may be gone at any time; then there is nobody to tell anything.
            with contextlib.suppress(ConnectionError):
                client = ChannelSocket(opened)
                await until_one_ends(
                    _show(session, client, wanted), _type(session, client), keep_alive(opened)
                )
        finally:
            await session.close()
        await opened.close()
        return opened

    return ConnectionAnswer(serve)


async def _show(session: ExecSession, client: ChannelSocket, wanted: set[int]) -> None:
    """Passes on what the command says, until it has ended, and how."""
    for channel in sorted(wanted - {_STDIN})[:1]:
        await client.begin(channel)
    async for channel, data in session.output():
        if channel in wanted:
            await client.send(channel, data)
    try:
        outcome = _outcome(await session.wait())
    except ApiError as error:
        outcome = error.status
    await client.send(_OUTCOME, msgspec.json.encode(outcome))


async def _type(session: ExecSession, client: ChannelSocket) -> None:
    """Passes on what the client sends, until it is gone."""
    async for channel, data in client.messages():
        if channel == _STDIN and data:
            await session.write(data)
        elif channel == _RESIZE:
            await _resize(session, data)
        elif channel == CLOSE and data[:1] == bytes((_STDIN,)):
            session.close_stdin()


async def _resize(session: ExecSession, data: bytes) -> None:
    try:
        size = msgspec.json.decode(data, type=_Size)
    except msgspec.MsgspecError:
        return  # as upstream: a size that cannot be read changes nothing
    await session.resize(size.columns, size.rows)


class _Size(msgspec.Struct):
    columns: int = msgspec.field(name="Width")
    rows: int = msgspec.field(name="Height")


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
