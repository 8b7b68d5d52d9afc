"""``kubeling why KIND/NAME``: the first cause, in words, with the end of the log."""

from __future__ import annotations

from pathlib import Path

import click

from kubeling.cli.apply import resolve_targets
from kubeling.cli.connection import Connection, connected, resource_options, run
from kubeling.cli.family import owner_tree
from kubeling.kube.advice import advice
from kubeling.kube.diagnosis import Cause, first_causes
from kubeling.kube.logtail import log_tail
from kubeling.kube.objects import Obj, name

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
                click.echo(f"{_title(root)}: {_all_well(root)}")
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
    tail: list[str] = []
    if finding.exit_code is not None and cause.object.get("kind") == "Pod":
        tail = await log_tail(connection.client, cause.object, finding.container, _TAIL)
        if "\n".join(tail).strip() != message:  # Else the message is the end of the log already.
            for line in tail:
                click.echo(f"  | {line}")
    code = f"exited with code {finding.exit_code}" if finding.exit_code else ""
    if hint := advice(finding.reason, message, code, *tail):
        click.echo(f"  Try this: {hint}")


def _all_well(obj: Obj) -> str:
    """What there is to say of an object that nothing is wrong with."""
    spec = obj.get("spec") or {}
    if spec.get("suspend") is True:
        return "it is suspended, until spec.suspend is false."
    if (spec.get("runPolicy") or {}).get("suspend") is True:
        return "it is suspended, until spec.runPolicy.suspend is false."
    return "nothing is wrong."


def _title(obj: Obj) -> str:
    return f"{obj['kind']}/{name(obj)}"
