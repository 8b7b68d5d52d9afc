"""An extension API server: what stands behind an APIService."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.support.webhooks import SERVICE, certificates

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS, ENDPOINT_SLICES, SERVICES, Resource

API_SERVICES = Resource("apiregistration.k8s.io", "v1", "APIService", "apiservices", False)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ExtensionServer:
    """What it was asked, and how it is registered."""

    group: str
    version: str
    ca_bundle: str
    port: int = 0
    requests: list[web.Request] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.version}.{self.group}"

    def api_service(self, **spec: Any) -> Obj:
        """The APIService that leads here."""
        return {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": self.title},
            "spec": {
                "group": self.group,
                "version": self.version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"namespace": "default", "name": SERVICE},
                "caBundle": self.ca_bundle,
                **spec,
            },
        }

    async def publish(self, client: Client, *, name: str = SERVICE) -> None:
        """Creates the Service, and says where its endpoint is."""
        spec = {"ports": [{"name": "https", "port": 443, "targetPort": self.port}]}
        service = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
        await client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", **service})
        await client.create(
            ENDPOINT_SLICES,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "ports": [{"name": "https", "port": self.port}],
                "endpoints": [{"addresses": ["127.0.0.1"]}],
            },
        )


@contextlib.asynccontextmanager
async def extension_server(
    client: Client,
    group: str,
    version: str,
    resources: list[Obj],
    routes: Mapping[str, Handler],
) -> AsyncIterator[ExtensionServer]:
    """Serves discovery and the routes below the group version, to the front proxy only."""
    issued = certificates()
    server = ExtensionServer(group, version, issued.bundle)
    root = f"/apis/{group}/{version}"

    async def discover(request: web.Request) -> web.Response:
        listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": root[6:]}
        return web.json_response({**listed, "resources": resources})

    def recorded(handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            server.requests.append(request)
            return await handler(request)

        return answer

    app = web.Application()
    app.router.add_get(root, discover)
    for path, handler in routes.items():
        app.router.add_route("*", root + path, recorded(handler))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    context = issued.context()
    trust = await client.get(CONFIG_MAPS, "extension-apiserver-authentication", "kube-system")
    assert json.loads(trust["data"]["requestheader-allowed-names"]) == ["front-proxy-client"]
    context.load_verify_locations(cadata=trust["data"]["requestheader-client-ca-file"])
    context.verify_mode = ssl.CERT_REQUIRED
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
