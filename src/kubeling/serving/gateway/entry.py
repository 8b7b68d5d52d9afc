"""Where requests come in: by path (``/serving/{namespace}/{name}/v1/models/…``) or by ``Host``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from aiohttp import web

from kubeling.component import ConnectionTaker, Context, HostHandler
from kubeling.kube.informer import Informers
from kubeling.proxying.http2.preface import PREFACE
from kubeling.serving.gateway.inference import InferenceGateway

__all__ = ["connection_taker", "gateway_of", "host_handler", "routes"]

_gateways: WeakKeyDictionary[Informers, InferenceGateway] = WeakKeyDictionary()


def gateway_of(context: Context) -> InferenceGateway:
    """The one gateway of a platform: paths and hosts share its counts."""
    if context.informers not in _gateways:
        _gateways[context.informers] = InferenceGateway(context)
    return _gateways[context.informers]


def routes(context: Context, *, alone: bool = False) -> list[web.AbstractRouteDef]:
    """The gateway's paths.

    What it counted is on the dashboard for everybody who reaches that; where it is ``alone``,
    without a dashboard, one needs what a request to the service needs.
    """
    gateway = gateway_of(context)
    gateway.serve(context)
    return [
        web.route("*", "/serving/{namespace}/{name}", gateway.by_path),
        web.route("*", "/serving/{namespace}/{name}/{tail:.*}", gateway.by_path),
        web.get(
            "/api/serving/{namespace}/{name}/traffic",
            gateway.traffic_for_those_who_may_ask if alone else gateway.traffic,
        ),
    ]


def host_handler(context: Context) -> HostHandler:
    """Claims requests whose ``Host`` is a service's."""
    return gateway_of(context).by_host


def connection_taker(context: Context) -> ConnectionTaker:
    """Takes HTTP/2, which is gRPC, and what may go the short way."""
    return _Taker(gateway_of(context))


class _Taker:
    def __init__(self, gateway: InferenceGateway) -> None:
        self._gateway = gateway

    def takes(
        self, beginning: bytes, otherwise: Callable[[], asyncio.Protocol]
    ) -> asyncio.Protocol | None:
        if beginning.startswith(PREFACE):
            return self._gateway.calls.connection()
        return self._gateway.short_way.takes(beginning, otherwise)

    async def drained(self, seconds: float) -> None:
        await self._gateway.drained(seconds)
