"""``kubeling inference-gateway``: the models of a cluster at one address, as a process of its own.

It needs the API to know what there is, and goes on with what it knew while the API is away. What
only it can do goes with it: scaling by requests and to rest, and judging canaries.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from kubeling.cli.cluster import cluster_domain_option, ingress_domain_option, kubeconfig_option
from kubeling.cli.errors import CliError
from kubeling.component import Context, Settings, load_components
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.informer import Informers

__all__ = ["inference_gateway"]


@click.command("inference-gateway")
@kubeconfig_option
@click.option("--host", default="0.0.0.0", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Its port; 0 takes a free one.",
)
@cluster_domain_option
@ingress_domain_option
@click.option(
    "--drain",
    default=30.0,
    show_default=True,
    help="Seconds that answers under way get when it is stopped.",
)
def inference_gateway(
    kubeconfig: Path | None,
    host: str,
    port: int,
    cluster_domain: str,
    ingress_domain: str,
    drain: float,
) -> None:
    """Serve the models of a cluster at one address until ctrl-C.

    REST, gRPC and InferenceGraphs, split among revisions, held while a model starts. Pods must be
    reachable from here: run it in the cluster (deploy/inference-gateway).
    """
    import uvloop

    from kubeling.cli.settings import rooms_in_environment

    with tempfile.TemporaryDirectory() as empty:
        settings = Settings(
            data_dir=Path(empty),
            workspace=Path(empty),
            cluster_domain=cluster_domain,
            ingress_domain=ingress_domain,
            rooms=rooms_in_environment(os.environ),
        )
        try:
            listener = socket.create_server((host, port), backlog=1024)
        except OSError as error:
            raise CliError(f"cannot listen on {host} port {port}: {error.strerror}") from None
        uvloop.run(_until_signal(kubeconfig, settings, listener, drain))


async def _until_signal(
    kubeconfig: Path | None, settings: Settings, listener: socket.socket, drain: float
) -> None:
    task = asyncio.current_task()
    assert task is not None
    for stop in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await _run(kubeconfig, settings, listener, drain)
    click.echo("Stopped.")


async def _run(
    kubeconfig: Path | None, settings: Settings, listener: socket.socket, drain: float
) -> None:
    from aiohttp import web

    from kubeling.gateway.app import create_routes
    from kubeling.gateway.door import DoorSite, takers_of
    from kubeling.kube.controller import run_controllers
    from kubeling.kube.https import HttpsTransport
    from kubeling.serving.component import gateway_controllers, gateway_routes, gateway_synced

    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listener.close)
        client = Client(HttpsTransport(load(kubeconfig)), field_manager="kubeling-gateway")
        stack.push_async_callback(client.close)
        informers = await stack.enter_async_context(Informers(client))
        context = Context(client, informers, settings)
        serving = load_components(["serving"])
        components = [replace(component, routes=gateway_routes) for component in serving]
        runner = web.AppRunner(
            create_routes(context, components), access_log=None, shutdown_timeout=drain
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        # Whoever asks before it knows the models would be told that there are none.
        await gateway_synced(context)
        await DoorSite(runner, listener, takers_of(context, components), drain).start()
        where, port = listener.getsockname()[:2]
        click.echo(f"Models are served at {where} port {port}; stop with ctrl-C.")
        await run_controllers(gateway_controllers(context), informers)
