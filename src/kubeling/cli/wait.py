"""``kubeling wait``: until a condition holds, by watching."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from kubeling.cli.apply import resolve_targets
from kubeling.cli.connection import Connection, connected, resource_options, run
from kubeling.cli.errors import CliError
from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import Resource

__all__ = ["wait"]


class Duration(click.ParamType[float]):
    """Seconds as a number, or with a unit as kubectl spells it."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("target", nargs=-1, required=True, metavar="KIND NAME | KIND/NAME")
@click.option(
    "--for",
    "wanted",
    required=True,
    help="condition=TYPE[=VALUE], phase=VALUE, or delete.",
)
@click.option(
    "--timeout",
    type=Duration(),
    default="10m",
    show_default=True,
    help="How long at most: 90, 90s or 1m30s; 0 looks once.",
)
@resource_options
def wait(
    target: tuple[str, ...],
    wanted: str,
    timeout: float,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> None:
    """Wait until an object meets a condition."""
    run(_wait(target, wanted, timeout, namespace, kubeconfig, data_dir))


async def _wait(
    target: tuple[str, ...],
    wanted: str,
    timeout: float,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> None:
    async with connected(data_dir, kubeconfig, namespace) as connection:
        for resource, name in await resolve_targets(connection, target):
            try:
                await _until(connection, resource, name, wanted, timeout)
            except TimeoutError:
                raise CliError(
                    f"{resource.qualified}/{name} did not meet {wanted} within {timeout:g} s",
                    f"See why with: kubeling why {resource.plural}/{name}",
                ) from None
            click.echo(f"{resource.qualified}/{name} {wanted} met")


async def _until(
    connection: Connection, resource: Resource, name: str, wanted: str, timeout: float
) -> None:
    where = connection.namespace if resource.namespaced else ""
    current = await connection.client.find(resource, name, where)
    if meets(current, wanted):
        return
    if current is None:
        raise CliError(f"{resource.qualified}/{name} does not exist")
    async with asyncio.timeout(timeout):
        while True:
            events = connection.client.watch(resource, where, fields=f"metadata.name={name}")
            async for event in events:
                if meets(None if event.type == "DELETED" else event.object, wanted):
                    return


def meets(obj: Obj | None, wanted: str) -> bool:
    """Whether an object (or its absence) meets ``condition=…``, ``phase=…`` or ``delete``."""
    how, _, rest = wanted.partition("=")
    match how:
        case "delete":
            return obj is None
        case "phase":
            return obj is not None and (obj.get("status") or {}).get("phase") == rest
        case "condition":
            type_, _, value = rest.partition("=")
            found = condition(obj, type_) if obj is not None else None
            return found is not None and found.status.lower() == (value or "true").lower()
    raise CliError(f'cannot wait for "{wanted}"', "Use condition=Ready, phase=Succeeded or delete.")
