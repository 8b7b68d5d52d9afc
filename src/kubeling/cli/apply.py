"""``kubeling apply`` and ``kubeling delete``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kubeling.cli.connection import Connection, connected, resource_options, run
from kubeling.cli.errors import CliError
from kubeling.cli.manifests import read_manifests
from kubeling.kube.errors import ApiError, NotFound
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["apply", "delete"]

_FILES = click.option(
    "-f", "--filename", "files", multiple=True, help="A file, a folder or - for standard input."
)


@click.command()
@_FILES
@click.option("--dry-run", is_flag=True, help="Check on the server without storing anything.")
@resource_options
def apply(
    files: tuple[str, ...],
    dry_run: bool,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> int:
    """Create or update what the manifests say (server-side apply)."""
    if not files:
        raise CliError("nothing to apply", "Name a file with -f.")
    return run(_apply(read_manifests(files), dry_run, namespace, kubeconfig, data_dir))


async def _apply(
    objects: list[Obj], dry_run: bool, namespace: str, kubeconfig: Path | None, data_dir: Path
) -> int:
    failures = 0
    async with connected(data_dir, kubeconfig, namespace) as connection:
        for obj in objects:
            try:
                click.echo(await _apply_one(connection, obj, dry_run))
            except (ApiError, CliError) as error:
                failures += 1
                click.secho(f"error: {error}", fg="red", err=True)
                if isinstance(error, CliError) and error.hint:
                    click.echo(f"  {error.hint}", err=True)
    return 1 if failures else 0


async def _apply_one(connection: Connection, obj: Obj, dry_run: bool) -> str:
    resource = await connection.discovery.of_object(obj)
    if resource.namespaced:
        obj["metadata"].setdefault("namespace", connection.namespace)
    client = connection.client
    suffix = " (dry run)" if dry_run else ""
    if "name" not in obj["metadata"]:
        created = await client.create(resource, obj, dry_run=dry_run)
        return f"{resource.qualified}/{created['metadata']['name']} created{suffix}"
    name = obj["metadata"]["name"]
    before = await client.find(resource, name, obj["metadata"].get("namespace", ""))
    after = await client.apply(resource, obj, dry_run=dry_run, strict=True)
    if before is None:
        verb = "created"
    elif before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]:
        verb = "unchanged"
    else:
        verb = "configured"
    return f"{resource.qualified}/{name} {verb}{suffix}"


@click.command()
@click.argument("targets", nargs=-1, metavar="[KIND NAME... | KIND/NAME...]")
@_FILES
@click.option("--ignore-not-found", is_flag=True, help="Absent objects are no error.")
@resource_options
def delete(
    targets: tuple[str, ...],
    files: tuple[str, ...],
    ignore_not_found: bool,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> int:
    """Delete objects, named or in manifests, and what they own."""
    if not targets and not files:
        raise CliError("nothing to delete", "Name KIND/NAME, or a file with -f.")
    objects = read_manifests(files) if files else []
    return run(_delete(targets, objects, ignore_not_found, namespace, kubeconfig, data_dir))


async def _delete(
    targets: tuple[str, ...],
    objects: list[Obj],
    ignore_not_found: bool,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> int:
    failures = 0
    async with connected(data_dir, kubeconfig, namespace) as connection:
        found: list[tuple[Resource, str, str]] = []
        for obj in objects:
            resource = await connection.discovery.of_object(obj)
            where = obj["metadata"].get("namespace", connection.namespace)
            found.append((resource, obj["metadata"]["name"], where))
        found += [
            (resource, name, connection.namespace)
            for resource, name in await resolve_targets(connection, targets)
        ]
        for resource, name, where in found:
            try:
                await connection.client.delete(resource, name, where if resource.namespaced else "")
                click.echo(f"{resource.qualified}/{name} deleted")
            except NotFound as error:
                if not ignore_not_found:
                    failures += 1
                    click.secho(f"error: {error}", fg="red", err=True)
            sys.stdout.flush()
    return 1 if failures else 0


async def resolve_targets(
    connection: Connection, words: tuple[str, ...]
) -> list[tuple[Resource, str]]:
    """``KIND NAME...`` or ``KIND/NAME...`` as resources and names."""
    if not words:
        return []
    if "/" in words[0]:
        pairs = [word.partition("/")[::2] for word in words]
    else:
        pairs = [(words[0], name) for name in words[1:]]
    if not pairs or not all(name for _, name in pairs):
        kind = words[0].partition("/")[0]
        await connection.discovery.resolve(kind)
        raise CliError(f"which {kind}?", f"Name one: {kind}/NAME")
    return [(await connection.discovery.resolve(kind), name) for kind, name in pairs]
