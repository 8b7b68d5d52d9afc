"""The gateway's application: components' routes, services by host name, and the dashboard.

Upstream spreads these over an ingress gateway, a dashboard and six web applications. Here each
component mounts its own routes at upstream's paths, so the unmodified clients find them; what no
route claims is a page of the dashboard, and a ``Host`` of a served model goes to that model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kubeling.component import Component, Context, HostHandler
from kubeling.gateway.dashboard import dashboard_routes
from kubeling.gateway.hosts import AllowedHosts, known_hosts
from kubeling.gateway.origin import same_origin
from kubeling.gateway.pages.errors import lost
from kubeling.gateway.pages.view import Views
from kubeling.gateway.settings import GatewaySettings
from kubeling.kube.errors import ApiError
from kubeling.monitoring.registry import CONTENT_TYPE

__all__ = ["create_app", "create_routes"]

log = logging.getLogger(__name__)

_MAX_BODY = 256 * 1024 * 1024


def create_app(context: Context, components: Sequence[Component]) -> web.Application:
    """The application that answers at the platform's address."""
    hosts = [resolve for c in components if (resolve := c.host_handler(context)) is not None]
    settings = context.settings
    names = (*GatewaySettings.of(settings).allowed_hosts, urlsplit(settings.gateway_url).hostname)
    allowed = AllowedHosts([name for name in names if name], settings.cluster_domain)
    app = web.Application(
        middlewares=[
            _errors,
            _by_host(hosts),
            known_hosts(allowed),
            same_origin,
            lost(Views(context)),
        ],
        client_max_size=_MAX_BODY,
    )
    _mount(app, context, components)
    app.add_routes(dashboard_routes(context))
    return app


def create_routes(context: Context, components: Sequence[Component]) -> web.Application:
    """The components' routes alone, for an address that nobody opens in a browser.

    There is nothing that a page of another site could change, so it answers to any name: which one
    it has is for whatever stands in front of it to say.
    """
    hosts = [resolve for c in components if (resolve := c.host_handler(context)) is not None]
    app = web.Application(middlewares=[_errors, _by_host(hosts)], client_max_size=_MAX_BODY)
    _mount(app, context, components)
    return app


def _mount(app: web.Application, context: Context, components: Sequence[Component]) -> None:
    for component in components:
        app.add_routes(component.routes(context))
    app.router.add_get("/healthz", _healthy)
    app.router.add_get("/metrics", partial(_metrics, context))


async def _metrics(context: Context, _: web.Request) -> web.Response:
    """What the components counted, for Prometheus."""
    return web.Response(text=context.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def _by_host(hosts: Sequence[HostHandler]) -> Middleware:
    """Sends a request to the component that claims its ``Host``, before any path is looked at."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        for resolve in hosts:
            if claimed := resolve(request):
                return await claimed(request)
        return await handler(request)

    return middleware


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns what the API refused into an answer instead of a traceback."""
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response(error.status, status=error.status_code)
    except ConnectionError as error:
        log.warning("%s %s: %s", request.method, request.path, error)
        return web.json_response({"error": str(error)}, status=503)
