"""``kubeling workflow suspend | resume | set | stop | terminate``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.workflow.options import Place, place_options, selection_options

if TYPE_CHECKING:
    from kubeling.cli.workflow.session import Session

__all__ = ["resume", "set_nodes", "stop", "suspend", "terminate"]

_NAMES = click.argument("names", nargs=-1, metavar="WORKFLOW...")
_NODES = click.option("--node-field-selector", default="", help="Only these steps: displayName=x.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say which.")


@click.command()
@_NAMES
@place_options
def suspend(names: tuple[str, ...], place: Place) -> None:
    """Let no new steps of workflows start."""
    _each(names, place, "suspended", lambda s, wanted: s.operator.suspend(s.namespace, wanted))


@click.command()
@_NAMES
@_NODES
@place_options
def resume(names: tuple[str, ...], node_field_selector: str, place: Place) -> None:
    """Go on with suspended workflows, or only with the suspended steps that are selected."""
    _each(
        names,
        place,
        "resumed",
        lambda s, wanted: s.operator.resume(s.namespace, wanted, node_field_selector),
    )


@click.command("set")
@_NAMES
@_NODES
@click.option("--phase", default="", help="Succeeded, Failed or Error.")
@click.option(
    "-p", "--output-parameter", "outputs", multiple=True, help="A supplied output: NAME=VALUE."
)
@click.option("-m", "--message", default="", help="The step's message.")
@place_options
def set_nodes(
    names: tuple[str, ...],
    node_field_selector: str,
    phase: str,
    outputs: tuple[str, ...],
    message: str,
    place: Place,
) -> None:
    """Set phase, message or outputs of suspended steps."""
    from kubeling.workflows.operations.interventions import NodeChange

    pairs = [text.partition("=") for text in outputs]
    for key, equals, value in pairs:
        if not key or not equals:
            raise CliError(f'"{key}{equals}{value}" should be NAME=VALUE')
    change = NodeChange(phase, message, {key: value for key, _, value in pairs})
    _each(
        names,
        place,
        "values set",
        lambda s, wanted: s.operator.set(s.namespace, wanted, node_field_selector, change),
    )


@click.command()
@_NAMES
@_NODES
@click.option("--message", default="", help="The message of the steps that are stopped.")
@selection_options
@_DRY_RUN
@place_options
def stop(
    names: tuple[str, ...], node_field_selector: str, message: str, place: Place, **chosen: Any
) -> None:
    """End workflows, with their exit handlers."""
    _each(
        names,
        place,
        "stopped",
        lambda s, wanted: s.operator.stop(s.namespace, wanted, node_field_selector, message),
        **chosen,
    )


@click.command()
@_NAMES
@selection_options
@_DRY_RUN
@place_options
def terminate(names: tuple[str, ...], place: Place, **chosen: Any) -> None:
    """End workflows at once, without their exit handlers."""
    _each(
        names,
        place,
        "terminated",
        lambda s, wanted: s.operator.terminate(s.namespace, wanted),
        **chosen,
    )


def _each(
    names: tuple[str, ...],
    place: Place,
    done: str,
    one: Callable[[Session, str], Awaitable[object]],
    *,
    selector: str = "",
    field_selector: str = "",
    dry_run: bool = False,
) -> None:
    from kubeling.cli.workflow.session import session

    if not (names or selector or field_selector):
        raise CliError("requires either selector or workflow")

    async def work() -> None:
        async with session(place) as opened:
            for wanted in await opened.chosen(names, selector, field_selector):
                if not dry_run:
                    await one(opened, wanted)
                click.echo(f"workflow {wanted} {done}{' (dry-run)' if dry_run else ''}")

    try:
        run(work())
    except ValueError as error:
        raise CliError(str(error)) from None
