"""The API server as other clients' HTTP sees it: sessions and websockets with a node behind."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from tests.support.apiserver import RunningServer, running_server
from tests.support.node import HostNode

from kubeling.kube import config
from kubeling.kube.objects import new_object
from kubeling.kube.resources import PODS

__all__ = ["StreamWire", "stream_wire"]


@dataclass
class StreamWire:
    """An administrator's HTTP session with a server whose pods run on this machine."""

    running: RunningServer
    session: aiohttp.ClientSession
    node: HostNode

    def url(self, subresource: str, query: str = "", pod: str = "p") -> str:
        """Where a pod's subresource is."""
        return f"{self.running.server.url}{PODS.path('default', pod, subresource)}?{query}"

    async def socket(
        self, subresource: str, query: str, *protocols: str, autoping: bool = True
    ) -> aiohttp.ClientWebSocketResponse:
        """A websocket to a pod's subresource."""
        url = self.url(subresource, query)
        return await self.session.ws_connect(url, protocols=protocols, autoping=autoping)

    async def pod(self, name: str = "p") -> None:
        """A pod with one container; the node takes any command for it."""
        containers = [{"name": "main", "image": "busybox"}]
        pod = new_object(PODS, name, "default", spec={"containers": containers})
        await self.running.client.create(PODS, pod)


@contextlib.asynccontextmanager
async def stream_wire() -> AsyncIterator[StreamWire]:
    """A server with one pod, and an administrator's session with it."""
    node = HostNode()
    async with running_server(node=node, https=True) as running:
        context = config.load_kubeconfig(running.kubeconfig).ssl_context()
        connector = aiohttp.TCPConnector(ssl=context or True)
        async with aiohttp.ClientSession(connector=connector) as session:
            wire = StreamWire(running, session, node)
            await wire.pod()
            yield wire
