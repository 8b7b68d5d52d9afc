"""``kubeling get``: the server's own tables, so columns are those of kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from kubeling.cli.connection import Connection, connected, resource_options, run
from kubeling.cli.errors import CliError
from kubeling.kube import yaml
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import NAMESPACES, Resource
from kubeling.kube.transport import TABLE

__all__ = ["get", "render_table"]


@click.command()
@click.argument("kind")
@click.argument("name", required=False, default="")
@click.option("-A", "--all-namespaces", is_flag=True, help="Across all namespaces.")
@click.option("-l", "--selector", default="", help="A label selector, such as app=web.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "yaml", "json", "name"]), default="table"
)
@resource_options
def get(
    kind: str,
    name: str,
    all_namespaces: bool,
    selector: str,
    output: str,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> None:
    """List objects of a KIND, or show the one called NAME (also KIND/NAME)."""
    if "/" in kind and not name:
        kind, _, name = kind.partition("/")
        if not name:
            raise CliError(f"which {kind}?", f"Name one: {kind}/NAME, or list all: {kind}")
    run(_get(kind, name, all_namespaces, selector, output, namespace, kubeconfig, data_dir))


async def _get(
    kind: str,
    name: str,
    all_namespaces: bool,
    selector: str,
    output: str,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> None:
    async with connected(data_dir, kubeconfig, namespace) as connection:
        resource = await connection.discovery.resolve(kind)
        where = "" if all_namespaces or not resource.namespaced else connection.namespace
        if output in ("table", "wide"):
            shown = await _table(connection, resource, where, name, selector)
            if not shown.get("rows"):
                await _check_namespace(connection, where)
                click.echo(f"No {resource.plural} found{f' in {where}' if where else ''}.")
                return
            spans = all_namespaces and resource.namespaced
            click.echo(render_table(shown, wide=output == "wide", namespaces=spans))
            return
        found = await _objects(connection, resource, where, name, selector)
        click.echo(_render(found, resource, output, single=bool(name)), nl=False)


async def _check_namespace(connection: Connection, where: str) -> None:
    """An empty answer about a namespace that does not exist is a slip of the pen."""
    if not where:
        return
    try:
        known = await connection.client.find(NAMESPACES, where)
    except ApiError:
        # Who may not read namespaces is told what they may know: that nothing was found.
        return
    if known is None:
        raise CliError(
            f'there is no namespace "{where}"', "List them with: kubeling get namespaces"
        )


async def _table(
    connection: Connection, resource: Resource, namespace: str, name: str, selector: str
) -> Obj:
    query = {"labelSelector": selector} if selector else {}
    path = resource.path(namespace, name)
    return await connection.client.raw("GET", path, query=query, accept=TABLE)


async def _objects(
    connection: Connection, resource: Resource, namespace: str, name: str, selector: str
) -> list[Obj]:
    if name:
        return [await connection.client.get(resource, name, namespace)]
    return (await connection.client.list(resource, namespace, labels=selector)).items


def render_table(table: Obj, *, wide: bool = False, namespaces: bool = False) -> str:
    """A ``meta.k8s.io/v1`` Table as aligned text."""
    definitions = table["columnDefinitions"]
    chosen = [i for i, column in enumerate(definitions) if wide or not column.get("priority")]
    header = [definitions[i]["name"].upper() for i in chosen]
    rows = [[_cell(row["cells"][i]) for i in chosen] for row in table["rows"]]
    if namespaces:
        header.insert(0, "NAMESPACE")
        for shown, row in zip(rows, table["rows"], strict=True):
            shown.insert(0, row["object"]["metadata"].get("namespace", ""))
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [header, *rows]
    )


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _render(objects: list[Obj], resource: Resource, output: str, *, single: bool) -> str:
    if output == "name":
        return "".join(f"{resource.qualified}/{o['metadata']['name']}\n" for o in objects)
    for obj in objects:
        obj["metadata"].pop("managedFields", None)
    document: Obj = objects[0] if single else {"apiVersion": "v1", "kind": "List", "items": objects}
    if output == "json":
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
    return yaml.dump(document)
