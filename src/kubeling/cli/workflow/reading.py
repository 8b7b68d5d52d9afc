"""``kubeling workflow get | watch | wait``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.workflow.options import Place, output_option, place_options

if TYPE_CHECKING:
    from kubeling.cli.workflow.tree import TreeOptions

__all__ = ["get", "tree_options", "wait", "watch"]


def tree_options(node_field_selector: str, status: str, *, plain: bool = False) -> TreeOptions:
    """Which steps ``--node-field-selector`` and ``--status`` leave."""
    from kubeling.cli.workflow.tree import TreeOptions
    from kubeling.workflows.operations.node_selectors import parse_node_selector

    if node_field_selector and status:
        raise CliError("cannot use both --status and --node-field-selector")
    wanted = node_field_selector or (f"phase={status}" if status else "")
    try:
        selector = parse_node_selector(wanted) if wanted else None
    except ValueError as error:
        raise CliError(str(error)) from None
    return TreeOptions(selector=selector, plain=plain)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="WORKFLOW...")
@output_option
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--no-utf8", is_flag=True, help="Plain 7-bit characters.")
@click.option("--status", default="", help="Only steps in this phase.")
@click.option("--node-field-selector", default="", help="Only these steps: displayName=x.")
@click.option("--watch", is_flag=True, help="Show it until it ends.")
@place_options
def get(
    names: tuple[str, ...],
    output: str | None,
    no_color: bool,
    no_utf8: bool,
    status: str,
    node_field_selector: str,
    watch: bool,
    place: Place,
) -> int:
    """Show workflows and the trees of their steps."""
    from kubeling.cli.workflow.display import print_workflow
    from kubeling.cli.workflow.following import watch_one
    from kubeling.cli.workflow.session import session

    options = tree_options(node_field_selector, status, plain=no_utf8)
    if no_color:
        click.get_current_context().color = False

    async def work() -> int:
        code = 0
        async with session(place) as opened:
            for wanted in names:
                if watch:
                    code = await watch_one(opened, await opened.named(wanted), options)
                else:
                    print_workflow(await opened.get(wanted), output, opened.now(), options)
        return code

    return run(work())


@click.command()
@click.argument("name", metavar="WORKFLOW")
@click.option("--status", default="", help="Only steps in this phase.")
@click.option("--node-field-selector", default="", help="Only these steps: displayName=x.")
@place_options
def watch(name: str, status: str, node_field_selector: str, place: Place) -> int:
    """Show the tree of a workflow's steps until it ends; 1 if it does not succeed."""
    from kubeling.cli.workflow.following import watch_one
    from kubeling.cli.workflow.session import session

    options = tree_options(node_field_selector, status)

    async def work() -> int:
        async with session(place) as opened:
            return await watch_one(opened, await opened.named(name), options)

    return run(work())


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="WORKFLOW...")
@click.option("--ignore-not-found", is_flag=True, help="What is not there has ended, too.")
@place_options
def wait(names: tuple[str, ...], ignore_not_found: bool, place: Place) -> int:
    """Wait for workflows to end; 1 if one of them does not succeed."""
    from kubeling.cli.workflow.following import wait_for
    from kubeling.cli.workflow.session import session

    async def work() -> int:
        async with session(place) as opened:
            found = await opened.chosen(names)
            return await wait_for(opened, found, ignore_missing=ignore_not_found)

    return run(work())
