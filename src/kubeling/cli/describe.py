"""``kubeling describe``: an object as YAML, what it owns, and its events."""

from __future__ import annotations

from pathlib import Path

import click

from kubeling.cli.apply import resolve_targets
from kubeling.cli.connection import connected, resource_options, run
from kubeling.kube import yaml
from kubeling.kube.objects import Obj
from kubeling.kube.resources import EVENTS

__all__ = ["describe"]


@click.command()
@click.argument("target", nargs=-1, required=True, metavar="KIND NAME | KIND/NAME")
@resource_options
def describe(
    target: tuple[str, ...], namespace: str, kubeconfig: Path | None, data_dir: Path
) -> None:
    """Show an object with its events."""
    run(_describe(target, namespace, kubeconfig, data_dir))


async def _describe(
    target: tuple[str, ...], namespace: str, kubeconfig: Path | None, data_dir: Path
) -> None:
    async with connected(data_dir, kubeconfig, namespace) as connection:
        for resource, name in await resolve_targets(connection, target):
            where = connection.namespace if resource.namespaced else ""
            obj = await connection.client.get(resource, name, where)
            obj["metadata"].pop("managedFields", None)
            uid = obj["metadata"]["uid"]
            events = await connection.client.list(
                EVENTS, where or "default", fields=f"involvedObject.uid={uid}"
            )
            click.echo(yaml.dump(obj), nl=False)
            click.echo(_events(events.items))


def _events(events: list[Obj]) -> str:
    if not events:
        return "events: none"
    events.sort(key=lambda event: str(event.get("lastTimestamp") or ""))
    return "\n".join(
        [
            "events:",
            *(
                f"  {event.get('lastTimestamp', '')}  {event['type']:<7}  {event['reason']}  "
                f"{event.get('message', '')}" + _times(event)
                for event in events
            ),
        ]
    )


def _times(event: Obj) -> str:
    count = int(event.get("count") or 1)
    return f" (x{count})" if count > 1 else ""
