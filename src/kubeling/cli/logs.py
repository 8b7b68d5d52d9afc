"""``kubeling logs``: what a pod, or every pod below an object, wrote."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import click

from kubeling.cli.apply import resolve_targets
from kubeling.cli.connection import Connection, connected, resource_options, run
from kubeling.cli.errors import CliError
from kubeling.cli.family import owner_tree, pods_below
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS

__all__ = ["logs"]

_AT_ONCE: Final = 32


@click.command()
@click.argument("target")
@click.option("-c", "--container", default="", help="Only this container.")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("-p", "--previous", is_flag=True, help="The run before the last restart.")
@click.option("--tail", type=int, help="Only so many last lines.")
@resource_options
def logs(
    target: str,
    container: str,
    follow: bool,
    previous: bool,
    tail: int | None,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> None:
    """Print what a pod (POD), or all pods below an object (KIND/NAME), wrote."""
    work = _logs(target, container, follow, previous, tail, namespace, kubeconfig, data_dir)
    run(work)


async def _logs(
    target: str,
    container: str,
    follow: bool,
    previous: bool,
    tail: int | None,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> None:
    async with connected(data_dir, kubeconfig, namespace) as connection:
        sources = await _sources(connection, target, container)
        labelled = len(sources) > 1

        # Followed logs are open all at once; of others no more than the server answers promptly.
        room = asyncio.Semaphore(len(sources) if follow else _AT_ONCE)

        async def show(pod: Obj, source: str) -> ApiError | None:
            label = f"{name(pod)}/{source}: ".encode() if labelled else b""
            try:
                async with room:
                    await _print(connection, pod, source, label, follow, previous, tail)
            except ApiError as error:
                return error
            return None

        refused = await asyncio.gather(*(show(pod, source) for pod, source in sources))
    errors = list(dict.fromkeys(str(error) for error in refused if error is not None))
    if errors:
        raise CliError("; ".join(errors), f"See why with: kubeling why {_named(target)}")


async def _sources(connection: Connection, target: str, container: str) -> list[tuple[Obj, str]]:
    if "/" in target:
        (resource, wanted), *_ = await resolve_targets(connection, (target,))
        root = await connection.client.get(resource, wanted, connection.namespace)
        pods = pods_below(root, await owner_tree(connection, connection.namespace))
    else:
        pods = [await connection.client.get(PODS, target, connection.namespace)]
    if not pods:
        hint = f"See what it waits for with: kubeling why {target}"
        if "/" in target and root.get("kind") == "Workflow":
            hint = f"See what it did without pods with: kubeling workflow logs {wanted}"
        raise CliError(f"{target} has no pods", hint)
    return _chosen(pods, container)


def _chosen(pods: list[Obj], container: str) -> list[tuple[Obj, str]]:
    """The containers of these pods, or those called so, init containers among them."""
    if not container:
        return [(pod, entry["name"]) for pod in pods for entry in pod["spec"]["containers"]]
    every = [
        (pod, entry["name"])
        for pod in pods
        for entry in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    ]
    found = [(pod, called) for pod, called in every if called == container]
    if not found:
        names = ", ".join(dict.fromkeys(called for _, called in every))
        raise CliError(f'there is no container "{container}"', f"There are: {names}.")
    return found


def _named(target: str) -> str:
    return target if "/" in target else f"pod/{target}"


async def _print(
    connection: Connection,
    pod: Obj,
    container: str,
    label: bytes,
    follow: bool,
    previous: bool,
    tail: int | None,
) -> None:
    stream = connection.client.logs(
        name(pod),
        namespace(pod),
        container=container,
        follow=follow,
        previous=previous,
        tail_lines=tail,
    )
    rest = b""
    async for chunk in stream:
        if not label:
            _write(chunk)
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        _write(b"".join(label + line + b"\n" for line in lines))
    if rest:
        _write(label + rest + b"\n")


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
