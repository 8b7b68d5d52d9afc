"""How commands that work on resources reach an API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from kubeling.cli.discovery import Discovery
from kubeling.cli.instance import Instance, data_dir_option
from kubeling.kube.client import Client
from kubeling.kube.config import load

__all__ = ["Connection", "connected", "resource_options", "run"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Connection:
    """A client, what the server offers, and the namespace to work in."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.discovery = Discovery(client)


def resource_options(command: F) -> F:
    """Adds ``--namespace``, ``--kubeconfig`` and ``--data-dir``."""
    command = click.option("-n", "--namespace", default="", help="The namespace to work in.")(
        command
    )
    command = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Use this cluster instead of the local platform.",
    )(command)
    return data_dir_option(command)


@contextlib.asynccontextmanager
async def connected(
    data_dir: Path, kubeconfig: Path | None, namespace: str
) -> AsyncIterator[Connection]:
    """Connects to the given cluster, else to the platform of the data directory."""
    from kubeling.kube.https import HttpsTransport

    if kubeconfig is None:
        kubeconfig = Path(Instance(data_dir).require_running().kubeconfig)
    config = load(kubeconfig)
    client = Client(HttpsTransport(config), field_manager="kubeling-cli")
    try:
        yield Connection(client, namespace or config.namespace)
    finally:
        await client.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine."""
    return asyncio.run(work)
