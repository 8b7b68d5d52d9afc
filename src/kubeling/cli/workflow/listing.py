"""``kubeling workflow list``."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.wait import Duration
from kubeling.cli.workflow.options import Place, place_options
from kubeling.kube.objects import Obj, parse_time

__all__ = ["list_workflows", "narrowed"]

_LABELS = "workflows.argoproj.io"


@click.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="From all namespaces.")
@click.option("--prefix", default="", help="Names that begin so.")
@click.option("--older", type=Duration(), help="Ended longer ago than: 10m, 3h, 1d.")
@click.option("--since", type=Duration(), help="Created within the last: 10m, 3h, 1d.")
@click.option("--status", default="", help="In these phases: Failed,Error.")
@click.option("--completed", is_flag=True, help="Only those that have ended.")
@click.option("--running", is_flag=True, help="Only those that have not.")
@click.option("--resubmitted", is_flag=True, help="Only those that were resubmitted.")
@click.option("-l", "--selector", default="", help="Labels: key1=a,key2=b.")
@click.option("--field-selector", default="", help="Fields: metadata.name=x.")
@click.option("--chunk-size", type=int, default=0, help="Ask for so many at a time.")
@click.option("--no-headers", is_flag=True, help="No headings.")
@click.option("-o", "--output", type=click.Choice(["name", "json", "yaml", "wide"]), default=None)
@place_options
def list_workflows(
    all_namespaces: bool,
    prefix: str,
    older: float | None,
    since: float | None,
    chunk_size: int,
    no_headers: bool,
    output: str | None,
    place: Place,
    **chosen: Any,
) -> None:
    """List workflows, those that run first."""
    from kubeling.cli.workflow.session import session
    from kubeling.cli.workflow.tables import print_list
    from kubeling.workflows.resources import WORKFLOWS

    field_selector = chosen.pop("field_selector")
    selector = narrowed(**chosen)

    async def work() -> None:
        async with session(place) as opened:
            where = "" if all_namespaces else opened.namespace
            found, token = [], ""
            while True:
                page = await opened.client.list(
                    WORKFLOWS,
                    where,
                    labels=selector,
                    fields=field_selector,
                    limit=chunk_size,
                    continue_token=token,
                )
                found += page.items
                token = page.continue_token
                if not token:
                    break
            now = opened.now()
            kept = [wf for wf in found if _is_wanted(wf, prefix, older, since, now)]
            if output == "wide":
                kept = [await opened.offload.hydrated(workflow) for workflow in kept]
            print_list(kept, output, now, namespaces=all_namespaces, headings=not no_headers)

    run(work())


def narrowed(
    *, selector: str, status: str, completed: bool, running: bool, resubmitted: bool
) -> str:
    """The label selector that the other options come to."""
    if completed and running:
        raise CliError("--completed and --running cannot be used together")
    terms = [selector] if selector else []
    if status:
        terms.append(f"{_LABELS}/phase in ({status})")
    if completed:
        terms.append(f"{_LABELS}/completed=true")
    if running:
        terms.append(f"{_LABELS}/completed!=true")
    if resubmitted:
        terms.append(f"{_LABELS}/resubmitted-from-workflow")
    return ",".join(terms)


def _is_wanted(
    workflow: Obj, prefix: str, older: float | None, since: float | None, now: dt.datetime
) -> bool:
    if not workflow["metadata"]["name"].startswith(prefix):
        return False
    if older is not None:
        finished = (workflow.get("status") or {}).get("finishedAt")
        if not finished or (now - parse_time(finished)).total_seconds() < older:
            return False
    created = parse_time(workflow["metadata"]["creationTimestamp"])
    return since is None or (now - created).total_seconds() <= since
