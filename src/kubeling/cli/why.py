"""``kubeling why KIND/NAME``: the first cause, in words, with the end of the log."""

from __future__ import annotations

from pathlib import Path

import click

from kubeling.cli.apply import resolve_targets
from kubeling.cli.connection import Connection, connected, resource_options, run
from kubeling.cli.family import owner_tree
from kubeling.kube.diagnosis import Cause, first_causes
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["why"]

_TAIL = 15
_SHOWN = 3


@click.command()
@click.argument("target", nargs=-1, required=True, metavar="KIND NAME | KIND/NAME")
@resource_options
def why(target: tuple[str, ...], namespace: str, kubeconfig: Path | None, data_dir: Path) -> None:
    """Walk down from an object to the first cause of what went wrong, or of what it waits for."""
    run(_why(target, namespace, kubeconfig, data_dir))


async def _why(
    target: tuple[str, ...], namespace: str, kubeconfig: Path | None, data_dir: Path
) -> None:
    async with connected(data_dir, kubeconfig, namespace) as connection:
        tree = await owner_tree(connection, connection.namespace)
        for resource, wanted in await resolve_targets(connection, target):
            where = connection.namespace if resource.namespaced else ""
            root = await connection.client.get(resource, wanted, where)
            causes = first_causes(root, tree)
            if not causes:
                click.echo(f"{_title(root)}: nothing is wrong.")
            for cause in causes[:_SHOWN]:
                await _show(connection, cause)
            if len(causes) > _SHOWN:
                click.echo(f"… and {len(causes) - _SHOWN} more like it")


async def _show(connection: Connection, cause: Cause) -> None:
    click.echo(" → ".join(_title(obj) for obj in cause.path))
    finding = cause.finding
    about = f"container {finding.container}: " if finding.container else ""
    message = finding.message.strip()
    click.secho(f"  {about}{finding.reason}: {message}".rstrip(": "), fg="red")
    if finding.exit_code is not None and cause.object.get("kind") == "Pod":
        tail = await _tail(connection, cause.object, finding.container)
        if "\n".join(tail).strip() == message:
            return  # The message is the end of the log already.
        for line in tail:
            click.echo(f"  | {line}")


async def _tail(connection: Connection, pod: Obj, container: str) -> list[str]:
    chunks = bytearray()
    try:
        stream = connection.client.logs(
            name(pod), namespace(pod), container=container, tail_lines=_TAIL
        )
        async for chunk in stream:
            chunks += chunk
    except ApiError as error:
        return [f"(no log: {error})"]
    return chunks.decode(errors="replace").splitlines()


def _title(obj: Obj) -> str:
    return f"{obj['kind']}/{name(obj)}"
