"""``kubeling workflow logs``."""

from __future__ import annotations

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.wait import Duration
from kubeling.cli.workflow.options import Place, place_options

__all__ = ["logs"]


@click.command()
@click.argument("name", metavar="WORKFLOW")
@click.argument("pod", default="")
@click.option("-c", "--container", default="main", show_default=True, help="Of this container.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the workflow ends.")
@click.option("-p", "--previous", is_flag=True, help="The run before the last restart.")
@click.option("--since", type=Duration(), help="Only lines newer than this: 5s, 2m, 3h.")
@click.option("--since-time", default="", help="Only lines after this time (RFC 3339).")
@click.option("--tail", type=int, help="Only so many last lines of each pod.")
@click.option("--grep", default="", help="Only lines that match this expression.")
@click.option("-l", "--selector", default="", help="Only pods with these labels.")
@click.option("--timestamps", is_flag=True, help="Begin lines with their times.")
@click.option("--no-color", is_flag=True, help="No colours.")
@place_options
def logs(
    name: str,
    pod: str,
    container: str,
    follow: bool,
    previous: bool,
    since: float | None,
    since_time: str,
    tail: int | None,
    grep: str,
    selector: str,
    timestamps: bool,
    no_color: bool,
    place: Place,
) -> None:
    """Print what the steps of a workflow, or one of their pods, wrote."""
    from kubeling.cli.workflow.following import print_logs
    from kubeling.cli.workflow.session import session
    from kubeling.workflows.logs import LogQuery

    if since is not None and since_time:
        raise CliError("only one of --since and --since-time may be used")
    query = LogQuery(
        pod_name=pod,
        selector=selector,
        grep=grep,
        container=container,
        follow=follow,
        previous=previous,
        timestamps=timestamps,
        tail_lines=tail if tail is None or tail >= 0 else None,
        since_seconds=None if since is None else max(1, int(since)),
        since_time=since_time,
    )

    async def work() -> None:
        async with session(place) as opened:
            await print_logs(opened, await opened.named(name), query, colour=not no_color)

    try:
        run(work())
    except ValueError as error:
        raise CliError(str(error)) from None
