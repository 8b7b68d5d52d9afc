"""Where calls come in: by authority, by metadata or by path.

A call is for the service whose host name is its ``:authority``, as a route of Istio or of the
Gateway API has it; a client that cannot choose that says it in the metadata ``x-forwarded-host``,
as a proxy does, or puts ``/serving/{namespace}/{name}`` in front of the method, as in REST. On the
same port as HTTP/1: an HTTP/2 connection is known by its preface. What is not gRPC is sent back to
HTTP/1.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from h2.errors import ErrorCodes

from kubeling.kube.objects import Key
from kubeling.proxying.http2.connection import Connection
from kubeling.proxying.http2.pool import Pool
from kubeling.proxying.http2.stream import Headers, Receiver, Stream
from kubeling.serving.gateway.clients import Clients
from kubeling.serving.gateway.delivery import Delivery
from kubeling.serving.gateway.grpc.call import Call, refuse
from kubeling.serving.gateway.grpc.requests import CallRequest
from kubeling.serving.gateway.grpc.status import Code
from kubeling.serving.gateway.grpc.target import CallTarget
from kubeling.serving.names import ComponentName

__all__ = ["Calls"]

Claimed = Callable[[str], tuple[Key, ComponentName | None] | None]
"""The service of a host name."""


class Calls:
    """The HTTP/2 connections of clients."""

    def __init__(
        self,
        delivery: Delivery,
        clients: Clients,
        claimed: Claimed,
        is_graph: Callable[[str], bool],
    ) -> None:
        self._delivery = delivery
        self._claimed = claimed
        self._is_graph = is_graph
        self._pool = Pool()
        self._clients = clients

    def connection(self) -> asyncio.Protocol:
        """What speaks with a new client."""
        client = _Client(self, self._clients)
        self._clients.came(client)
        return client

    def close(self) -> None:
        """Closes the connections to pods."""
        self._pool.close()

    def opened(self, client: Stream, headers: Headers, ended: bool, peer: str) -> Receiver | None:
        """Sets a call on its way, or refuses it."""
        request = CallRequest.of(headers)
        if not request.is_grpc:
            client.reset(ErrorCodes.HTTP_1_1_REQUIRED)
            return None
        target = self._target(request)
        if isinstance(target, str):
            refuse(client, Code.UNIMPLEMENTED, target)
            return None
        call = Call(client, request, ended, request.forwarded(peer))
        call.start(self._delivery, self._pool, target)
        return call

    def _target(self, request: CallRequest) -> CallTarget | str:
        """What a call is for, or why it is for nothing here."""
        path = request.get(b":path")
        for host in request.hosts:
            if found := self._claimed(host):
                return CallTarget(*found, path)
            if self._is_graph(host):
                return f"{host} is an InferenceGraph, which answers over REST only"
        if prefix := request.prefix:
            return CallTarget(prefix[0], None, prefix[1])
        return (
            f"no InferenceService is called {' or '.join(request.hosts)}: make its host name "
            "the authority (in grpcio the option grpc.default_authority), or send it as the "
            "metadata x-forwarded-host"
        )


class _Client(Connection):
    """A client's connection, which knows where it comes from."""

    def __init__(self, calls: Calls, clients: Clients) -> None:
        super().__init__(opened=self._call, closed=clients.left)
        self._calls = calls
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        super().connection_made(transport)

    def _call(self, client: Stream, headers: Headers, ended: bool) -> Receiver | None:
        return self._calls.opened(client, headers, ended, self._peer)
