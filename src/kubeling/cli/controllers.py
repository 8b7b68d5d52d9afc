"""``kubeling controllers``: all controllers in a process of their own, against any API server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import click

from kubeling.cli.cluster import cluster_domain_option, ingress_domain_option, kubeconfig_option
from kubeling.cli.instance import data_dir_option
from kubeling.component import Component, Context, Settings, load_components
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.controller import run_controllers
from kubeling.kube.crd import portable
from kubeling.kube.errors import ApiError
from kubeling.kube.informer import Informers
from kubeling.kube.leader import LeaderElection, LeaseConfig
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS

__all__ = ["controllers", "ensure_objects", "run_components"]


@click.command()
@kubeconfig_option
@data_dir_option
@click.option(
    "--workspace", type=click.Path(path_type=Path), default=Path.cwd, help="The workspace folder."
)
@click.option("--database", default="", help="URL of the metadata database.")
@click.option("--artifacts", default="", help="URI under which artifacts are kept.")
@click.option("--gateway", default="http://127.0.0.1:8080", help="URL of the dashboard.")
@cluster_domain_option
@ingress_domain_option
@click.option("--install/--no-install", default=True, help="Install missing CRDs and objects.")
@click.option(
    "--webhook-host",
    default="",
    help="Address at which the cluster reaches this process to ask for defaults and validation; "
    "without it, it is not asked to.",
)
@click.option(
    "--webhook-port", default=9443, show_default=True, help="Port of --webhook-host; 0 for any."
)
@click.option(
    "--listen-host",
    default="",
    help="Address at which components serve beside the API (Katib's DB manager, port 6789, and "
    "TrainJobs' progress, port 10080); "
    "without it, they do not.",
)
def controllers(
    kubeconfig: Path | None,
    data_dir: Path,
    workspace: Path,
    database: str,
    artifacts: str,
    gateway: str,
    cluster_domain: str,
    ingress_domain: str,
    install: bool,
    webhook_host: str,
    webhook_port: int,
    listen_host: str,
) -> None:
    """Run all controllers against any API server, over HTTPS, until ctrl-C.

    Several may run; one leads at a time.
    """
    from kubeling.cli.settings import check_database, rooms_in_environment

    check_database(database)

    settings = Settings(
        data_dir=data_dir.absolute(),
        workspace=workspace.absolute(),
        gateway_url=gateway,
        cluster_domain=cluster_domain,
        ingress_domain=ingress_domain,
        database_url=database,
        artifact_root=artifacts,
        rooms=rooms_in_environment(os.environ),
    )
    webhooks = (webhook_host, webhook_port) if webhook_host else None
    asyncio.run(_run(kubeconfig, settings, install, webhooks, listen_host))


async def _run(
    kubeconfig: Path | None,
    settings: Settings,
    install: bool,
    webhooks: tuple[str, int] | None,
    listen_host: str,
) -> None:
    from kubeling.kube.https import HttpsTransport

    client = Client(HttpsTransport(load(kubeconfig)), field_manager="kubeling-controllers")
    components = load_components()
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop, task.cancel)
    identity = f"{socket.gethostname()}_{os.getpid()}"
    election = LeaderElection(client, LeaseConfig("kubeling-controllers", identity))
    try:
        if install:
            await ensure_crds(client, components)
            await ensure_objects(client, components)
        click.echo(f"Controllers run as {identity}; stop with ctrl-C.")
        await election.run(lambda: _lead(client, components, settings, webhooks, listen_host))
    except asyncio.CancelledError:
        click.echo("Stopped.")
    finally:
        await client.close()


async def _lead(
    client: Client,
    components: Sequence[Component],
    settings: Settings,
    webhooks: tuple[str, int] | None,
    listen_host: str,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if webhooks is not None:
            from kubeling.cli.webhooks import served_webhooks

            folder = settings.data_dir / "webhooks"
            await stack.enter_async_context(served_webhooks(client, components, *webhooks, folder))
        await run_components(client, components, settings, listen_host)


async def run_components(
    client: Client, components: Sequence[Component], settings: Settings, listen_host: str = ""
) -> None:
    """Runs the controllers of the components, and what they serve, until cancelled."""
    async with Informers(client) as informers, contextlib.AsyncExitStack() as stack:
        context = Context(client, informers, settings)
        for component in components if listen_host else ():
            for listener in component.listeners(context):
                await stack.enter_async_context(listener.serving(listen_host, listener.port))
        await run_controllers(
            [c for component in components for c in component.controllers(context)], informers
        )


async def ensure_crds(client: Client, components: Sequence[Component]) -> None:
    """Applies the components' definitions and waits until their kinds are served."""
    for component in components:
        for definition in component.crds():
            await client.apply(CUSTOM_RESOURCE_DEFINITIONS, portable(definition))
            await _until_served(client, definition)


async def _until_served(client: Client, definition: Obj) -> None:
    spec = definition["spec"]
    version = spec["versions"][0]["name"]
    path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
    for attempt in range(50):
        try:
            await client.raw("GET", path, query={"limit": "1"})
            return
        except ApiError as error:
            if error.status_code != 404:
                raise
            await asyncio.sleep(0.02 * (attempt + 1))


async def ensure_objects(client: Client, components: Sequence[Component]) -> None:
    """Creates the components' objects that are not there yet; what is there stays as it is."""
    from kubeling.cli.discovery import Discovery

    discovery = Discovery(client)
    for component in components:
        for obj in component.objects():
            resource = await discovery.of_object(obj)
            metadata = obj["metadata"]
            found = await client.find(resource, metadata["name"], metadata.get("namespace", ""))
            if found is None:
                await client.create(resource, obj)
