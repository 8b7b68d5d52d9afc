"""``kubeling workflow retry | resubmit``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.workflow.options import (
    Place,
    follow_options,
    parameter_option,
    place_options,
    selection_options,
)
from kubeling.kube.objects import Obj, name

if TYPE_CHECKING:
    from kubeling.cli.workflow.session import Session

__all__ = ["resubmit", "retry"]


@click.command()
@click.argument("names", nargs=-1, metavar="WORKFLOW...")
@parameter_option
@click.option("--restart-successful", is_flag=True, help="Also steps that succeeded ...")
@click.option("--node-field-selector", default="", help="... and are these: displayName=x.")
@selection_options
@follow_options
@place_options
def retry(
    names: tuple[str, ...],
    parameters: tuple[str, ...],
    restart_successful: bool,
    node_field_selector: str,
    selector: str,
    field_selector: str,
    place: Place,
    **how: Any,
) -> int:
    """Run again what failed in workflows."""

    async def one(opened: Session, wanted: str) -> Obj:
        return await opened.operator.retry(
            opened.namespace,
            wanted,
            restart_successful=restart_successful,
            node_field_selector=node_field_selector,
            parameters=parameters,
        )

    return _each(names, selector, field_selector, place, one, **how)


@click.command()
@click.argument("names", nargs=-1, metavar="WORKFLOW...")
@parameter_option
@click.option("--memoized", is_flag=True, help="Take over what succeeded in the previous run.")
@click.option("--priority", type=int, help="The new workflow's priority.")
@selection_options
@follow_options
@place_options
def resubmit(
    names: tuple[str, ...],
    parameters: tuple[str, ...],
    memoized: bool,
    priority: int | None,
    selector: str,
    field_selector: str,
    place: Place,
    **how: Any,
) -> int:
    """Run the same workflows under new names."""

    async def one(opened: Session, wanted: str) -> Obj:
        workflow = await opened.operator.get(opened.namespace, wanted)
        if priority is not None:
            workflow["spec"]["priority"] = priority
        return await opened.operator.resubmit(workflow, memoized=memoized, parameters=parameters)

    return _each(names, selector, field_selector, place, one, **how)


def _each(
    names: tuple[str, ...],
    selector: str,
    field_selector: str,
    place: Place,
    one: Callable[[Session, str], Awaitable[Obj]],
    *,
    output: str | None,
    wait: bool,
    watch: bool,
    log: bool,
) -> int:
    from kubeling.cli.workflow.display import print_workflow
    from kubeling.cli.workflow.following import follow
    from kubeling.cli.workflow.session import session

    if not (names or selector or field_selector):
        raise CliError("requires either selector or workflow")

    async def work() -> int:
        async with session(place) as opened:
            found = await opened.chosen(names, selector, field_selector)
            if not found:
                click.echo("No workflows found.")
                return 0
            made = []
            for wanted in found:
                workflow = await one(opened, wanted)
                print_workflow(workflow, output, opened.now())
                made.append(name(workflow))
            if len(made) > 1 and (wait or watch):
                raise CliError("--wait and --watch work with a single workflow")
            quiet = output not in (None, "wide")
            return await follow(opened, made, wait=wait, watch=watch, log=log, quiet=quiet)

    try:
        return run(work())
    except ValueError as error:
        raise CliError(str(error)) from None
