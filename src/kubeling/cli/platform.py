"""The composition root: everything ``kubeling up`` runs, put together in one process.

Only this module knows all the rooms. It starts what others need first (the API), lets the rest
begin side by side, and takes it down in the opposite order; whatever ends unexpectedly ends the
platform, because a platform that half works is worse than one that says why it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from kubeling import __version__
from kubeling.apiserver.database import ArtifactError
from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.apiserver.settings import ApiSettings, SettingsError
from kubeling.cli.controllers import ensure_objects
from kubeling.cli.errors import CliError
from kubeling.cli.inside import API_PORT, publish
from kubeling.cli.instance import Endpoints, Instance
from kubeling.component import Component, Context, Listener, Settings, load_components
from kubeling.engine.config import EngineConfig
from kubeling.engine.engine import Engine, prepare_engine
from kubeling.engine.gangs import pod_group_definition
from kubeling.engine.local_node_api import LocalNodeApi
from kubeling.engine.servicenet.network import ServiceNetwork, prepare_service_network
from kubeling.engine.servicenet.nodehosts import node_hosts
from kubeling.engine.storage.all import ensure_storage_classes
from kubeling.engine.storage.snapshot_resources import snapshot_definitions
from kubeling.engine.templatemetrics import publish_templates
from kubeling.engine.workloads import all as workloads
from kubeling.gateway.app import create_app
from kubeling.gateway.door import DoorSite, takers_of
from kubeling.kube.admission import Admission
from kubeling.kube.client import Client
from kubeling.kube.controller import run_controllers
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, format_time
from kubeling.kube.resources import Resource

__all__ = ["Platform", "PlatformOptions", "run_platform"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlatformOptions:
    """What the command line says about a start."""

    workspace: Path
    host: str
    port: int
    controllers: bool = True
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the engine, by the names of :class:`EngineConfig`'s fields."""
    api: ApiSettings = field(default_factory=ApiSettings)
    rooms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of components, by component."""
    database: str = ""
    """The URL of the metadata database, if it is not the one in the data directory."""


class Platform:
    """One running platform."""

    def __init__(self, instance: Instance, options: PlatformOptions) -> None:
        self.instance = instance
        self.options = options

    async def run(self, ready: Callable[[Endpoints], None]) -> None:
        """Runs until cancelled; calls ``ready`` when everything answers."""
        async with contextlib.AsyncExitStack() as stack:
            listener = _listen(self.options.host, self.options.port)
            stack.callback(listener.close)
            components = load_components()
            services = await prepare_service_network(self.instance.data_dir)
            stack.callback(services.close)
            # What the kernel makes for the node and what Python makes for the API take their time
            # side by side.
            node_api = LocalNodeApi()
            preparing = asyncio.create_task(
                prepare_engine(self._engine_config(services), node_api=node_api)
            )
            stack.push_async_callback(_end, preparing)
            rules = await asyncio.to_thread(_rules_of, components)
            server = self._api_server(node_api, services, rules)
            await _start(server)
            stack.push_async_callback(server.stop)
            engine = await asyncio.shield(preparing)
            endpoints = self._endpoints(listener, server)
            server.write_kubeconfig(self.instance.kubeconfig)
            client = Client(server.local_transport())
            informers = await stack.enter_async_context(Informers(client))
            context = Context(client, informers, self._settings(endpoints))
            await ensure_objects(client, components)
            await ensure_storage_classes(client)
            listeners = [one for part in components for one in part.listeners(context)]
            endpoints.listeners = await self._listen_for(stack, listeners)
            await publish(client, endpoints, services.api_address, listeners)
            await self._gateway(stack, context, components, listener)
            await self._serve(context, components, engine, services, endpoints, ready)

    async def _serve(
        self,
        context: Context,
        components: list[Component],
        engine: Engine,
        services: ServiceNetwork,
        endpoints: Endpoints,
        ready: Callable[[Endpoints], None],
    ) -> None:
        async with asyncio.TaskGroup() as group:

            def start(work: Coroutine[Any, Any, None], name: str) -> None:
                group.create_task(work, name=name)

            start(engine.run(context.client, context.informers), "engine")
            if engine.templates is not None:
                publish_templates(engine.templates, context.metrics)
            hosts = node_hosts(self.options.host, engine.host_ip)
            start(services.run(context, hosts, engine.policies), "services")
            controllers = workloads.controllers(context)
            if self.options.controllers:
                controllers += [c for part in components for c in part.controllers(context)]
            start(run_controllers(controllers, context.informers), "controllers")
            await engine.ready.wait()
            await services.ready.wait()
            self.instance.write_endpoints(endpoints)
            ready(endpoints)

    def _engine_config(self, services: ServiceNetwork) -> EngineConfig:
        return EngineConfig(
            data_dir=self.instance.data_dir,
            workspace=self.options.workspace,
            api_host=services.api_address,
            api_port=API_PORT,
            dns_server=services.dns_address,
            service_cidr=services.cidr,
            **self.options.engine,
        )

    def _api_server(
        self, node_api: LocalNodeApi, services: ServiceNetwork, rules: _Rules
    ) -> ApiServer:
        before = self.instance.endpoints()
        config = ApiServerConfig(
            data_dir=self.instance.data_dir,
            host=self.options.host,
            port=_free(self.options.host, before.api_port) if before else 0,
            service_cidr=services.cidr,
            settings=self.options.api,
        )
        return ApiServer(
            config,
            node=node_api,
            admission=rules.admission,
            crds=rules.definitions,
        )

    def _endpoints(self, listener: socket.socket, server: ApiServer) -> Endpoints:
        port = listener.getsockname()[1]
        shown = "127.0.0.1" if self.options.host in ("0.0.0.0", "::") else self.options.host
        return Endpoints(
            pid=os.getpid(),
            version=__version__,
            dashboard=f"http://{shown}:{port}",
            api_server=f"https://{shown}:{server.port}",
            kubeconfig=str(self.instance.kubeconfig),
            workspace=str(self.options.workspace),
            started_at=format_time(dt.datetime.now(dt.UTC)),
            gateway_port=port,
            api_port=server.port,
            argo_server=f"{shown}:{port}",
        )

    def _settings(self, endpoints: Endpoints) -> Settings:
        return Settings(
            data_dir=self.instance.data_dir,
            workspace=self.options.workspace,
            gateway_url=endpoints.dashboard,
            database_url=self.options.database,
            rooms=self.options.rooms,
        )

    async def _listen_for(
        self, stack: contextlib.AsyncExitStack, listeners: Sequence[Listener]
    ) -> dict[str, int]:
        """Serves what components serve beside the gateway, where they did before if possible."""
        before = self.instance.endpoints()
        ports = before.listeners if before else {}
        found = {}
        for one in listeners:
            port = _free(self.options.host, ports.get(one.name) or one.port)
            found[one.name] = await stack.enter_async_context(one.serving(self.options.host, port))
        return found

    async def _gateway(
        self,
        stack: contextlib.AsyncExitStack,
        context: Context,
        components: list[Component],
        listener: socket.socket,
    ) -> None:
        runner = web.AppRunner(
            create_app(context, components), access_log=None, shutdown_timeout=1.0
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await DoorSite(runner, listener, takers_of(context, components)).start()


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the API server is to know of the components."""

    admission: Mapping[Resource, Admission]
    definitions: Sequence[Obj]


def _rules_of(components: Sequence[Component]) -> _Rules:
    own = [definition for part in components for definition in part.crds()]
    return _Rules(
        {resource: rule for part in components for resource, rule in part.admission().items()},
        [*snapshot_definitions(), pod_group_definition(), *own],
    )


async def _end(preparing: asyncio.Task[Engine]) -> None:
    """Ends the pods' processes: a platform that is stopped on purpose leaves nothing running."""
    await asyncio.wait([preparing])
    if preparing.exception() is None:
        engine = preparing.result()
        await engine.end_pods()
        await engine.close()


async def _start(server: ApiServer) -> None:
    try:
        await server.start()
    except (SettingsError, ArtifactError) as error:
        raise CliError(str(error)) from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        # It was free when we looked, and will be replaced if it is not next time.
        said = f"port {server.config.port} of {server.config.host} was taken during the start"
        raise CliError(said, "Start again: the API moves to another port.") from None


def _free(host: str, port: int) -> int:
    """The port, or 0 for any where another process has taken it since."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return 0
    return port


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CliError(
                f"port {port} of {host} is in use",
                "Choose another with --port, or --port 0 for any free one.",
            ) from None
        raise CliError(f"cannot listen on {host} port {port}: {error.strerror}") from None


def run_platform(platform: Platform, ready: Callable[[Endpoints], None]) -> None:
    """Runs a platform in this process until SIGINT or SIGTERM."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(_until_signal(platform, ready))
    else:
        uvloop.run(_until_signal(platform, ready))


async def _until_signal(platform: Platform, ready: Callable[[Endpoints], None]) -> None:
    task = asyncio.ensure_future(platform.run(ready))
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
