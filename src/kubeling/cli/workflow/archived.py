"""``kubeling archive``: workflows that have ended, in the local platform's metadata database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.workflow.options import (
    Place,
    follow_options,
    output_option,
    parameter_option,
    place_options,
)
from kubeling.kube.objects import Obj, name

if TYPE_CHECKING:
    from kubeling.cli.workflow.session import Session

__all__ = [
    "delete_archived",
    "get_archived",
    "list_archived",
    "resubmit_archived",
    "retry_archived",
]

T = TypeVar("T")
_NAMES = click.argument("names", nargs=-1, required=True, metavar="UID|NAME...")


@click.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="From all namespaces.")
@click.option("--prefix", default="", help="Names that begin so.")
@click.option("-l", "--selector", default="", help="Labels: key1=a,key2=b.")
@click.option("--field-selector", default="", help="Fields: metadata.name=x, spec.startedAt>TIME.")
@click.option("--limit", type=int, default=0, help="Only so many of the latest.")
@click.option("-o", "--output", type=click.Choice(["name", "json", "yaml", "wide"]), default=None)
@place_options
def list_archived(
    all_namespaces: bool,
    prefix: str,
    selector: str,
    field_selector: str,
    limit: int,
    output: str | None,
    place: Place,
) -> None:
    """List archived workflows, the last ended first."""
    from kubeling.cli.workflow.session import session
    from kubeling.cli.workflow.tables import print_list
    from kubeling.workflows.listing import workflow_filter

    async def work() -> None:
        async with session(place) as opened:
            wanted = workflow_filter(
                namespace="" if all_namespaces else opened.namespace,
                name_prefix=prefix,
                label_selector=selector,
                field_selector=field_selector,
            )
            found = await (await opened.archive.store()).page(wanted, limit)
            print_list(found, output, opened.now(), namespaces=all_namespaces, uids=True)

    _run(work)


@click.command("get")
@_NAMES
@output_option
@place_options
def get_archived(names: tuple[str, ...], output: str | None, place: Place) -> None:
    """Show archived workflows and the trees of their steps."""
    from kubeling.cli.workflow.display import print_workflow
    from kubeling.cli.workflow.session import session

    async def work() -> None:
        async with session(place) as opened:
            for wanted in names:
                print_workflow(await _found(opened, wanted), output, opened.now())

    _run(work)


@click.command("retry")
@_NAMES
@parameter_option
@click.option("--restart-successful", is_flag=True, help="Also steps that succeeded ...")
@click.option("--node-field-selector", default="", help="... and are these: displayName=x.")
@follow_options
@place_options
def retry_archived(
    names: tuple[str, ...],
    parameters: tuple[str, ...],
    restart_successful: bool,
    node_field_selector: str,
    place: Place,
    **how: Any,
) -> int:
    """Make workflows that are gone again, to run what failed in them."""
    from kubeling.workflows.resources import WORKFLOWS

    async def one(opened: Session, workflow: Obj) -> Obj:
        where = workflow["metadata"]["namespace"]
        if await opened.client.find(WORKFLOWS, name(workflow), where) is not None:
            raise CliError(
                f"workflow {name(workflow)} is still there",
                f"Retry it with: kubeling workflow retry {name(workflow)}",
            )
        return await opened.operator.retry_gone(
            workflow,
            restart_successful=restart_successful,
            node_field_selector=node_field_selector,
            parameters=parameters,
        )

    return _again(names, place, one, **how)


@click.command("resubmit")
@_NAMES
@parameter_option
@click.option("--memoized", is_flag=True, help="Take over what succeeded in the previous run.")
@follow_options
@place_options
def resubmit_archived(
    names: tuple[str, ...],
    parameters: tuple[str, ...],
    memoized: bool,
    place: Place,
    **how: Any,
) -> int:
    """Run archived workflows under new names."""

    async def one(opened: Session, workflow: Obj) -> Obj:
        return await opened.operator.resubmit(workflow, memoized=memoized, parameters=parameters)

    return _again(names, place, one, **how)


@click.command("delete")
@_NAMES
@place_options
def delete_archived(names: tuple[str, ...], place: Place) -> None:
    """Take workflows out of the archive."""
    from kubeling.cli.workflow.session import session

    async def work() -> None:
        async with session(place) as opened:
            for wanted in names:
                workflow = await _found(opened, wanted)
                await (await opened.archive.store()).delete(workflow["metadata"]["uid"])
                click.echo(f"Archived workflow '{wanted}' deleted")

    _run(work)


async def _found(opened: Session, wanted: str) -> Obj:
    """By uid or, in the namespace, by name."""
    store = await opened.archive.store()
    found = await store.get(uid=wanted)
    if found is None:
        found = await store.get(namespace=opened.namespace, name=wanted)
    if found is None:
        raise CliError(
            f"there is no archived workflow {wanted} in {opened.namespace}",
            "List them with: kubeling archive list",
        )
    return found


def _again(
    names: tuple[str, ...],
    place: Place,
    one: Callable[[Session, Obj], Awaitable[Obj]],
    *,
    output: str | None,
    wait: bool,
    watch: bool,
    log: bool,
) -> int:
    from kubeling.cli.workflow.display import print_workflow
    from kubeling.cli.workflow.following import follow
    from kubeling.cli.workflow.session import session

    async def work() -> int:
        async with session(place) as opened:
            made = []
            for wanted in names:
                workflow = await one(opened, await _found(opened, wanted))
                print_workflow(workflow, output, opened.now())
                made.append(name(workflow))
            quiet = output not in (None, "wide")
            return await follow(opened, made, wait=wait, watch=watch, log=log, quiet=quiet)

    return _run(work)


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return run(work())
    except ValueError as error:
        raise CliError(str(error)) from None
