"""``kubeling workflow delete``."""

from __future__ import annotations

from typing import Any

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.wait import Duration
from kubeling.cli.workflow.listing import narrowed
from kubeling.cli.workflow.options import Place, place_options
from kubeling.kube.objects import name, namespace, parse_time

__all__ = ["delete"]


@click.command()
@click.argument("names", nargs=-1, metavar="WORKFLOW...")
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("--all", "everything", is_flag=True, help="All workflows.")
@click.option("--completed", is_flag=True, help="Those that have ended.")
@click.option("--resubmitted", is_flag=True, help="Those that were resubmitted.")
@click.option("--prefix", default="", help="Those whose names begin so.")
@click.option("-l", "--selector", default="", help="Those with these labels.")
@click.option("--field-selector", default="", help="Those with these fields.")
@click.option("--older", type=Duration(), help="Those that ended longer ago than: 10m, 3h, 1d.")
@click.option("--status", default="", help="Those in these phases: Failed,Error.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@click.option("--force", is_flag=True, help="Even where finalizers hold them.")
@place_options
def delete(
    names: tuple[str, ...],
    all_namespaces: bool,
    everything: bool,
    prefix: str,
    field_selector: str,
    older: float | None,
    dry_run: bool,
    force: bool,
    place: Place,
    **chosen: Any,
) -> None:
    """Delete workflows by name, or those that the options choose."""
    from kubeling.cli.workflow.session import session
    from kubeling.workflows.resources import WORKFLOWS

    asked = everything or prefix or field_selector or older is not None or any(chosen.values())
    if not names and not asked:
        raise CliError("requires either selector or workflow", "Delete all of them with --all.")

    async def work() -> None:
        async with session(place) as opened:
            found = [(opened.namespace, wanted) for wanted in await opened.chosen(names)]
            if asked:
                where = "" if all_namespaces else opened.namespace
                selector = narrowed(running=False, **chosen)
                listed = await opened.client.list(
                    WORKFLOWS, where, labels=selector, fields=field_selector
                )
                for workflow in listed.items:
                    finished = (workflow.get("status") or {}).get("finishedAt")
                    age = (opened.now() - parse_time(finished)).total_seconds() if finished else -1
                    if name(workflow).startswith(prefix) and (older is None or age >= older):
                        found.append((namespace(workflow), name(workflow)))
            for at, wanted in dict.fromkeys(found):
                if not dry_run:
                    if force:
                        patch = {"metadata": {"finalizers": None}}
                        await opened.client.patch(WORKFLOWS, wanted, patch, at)
                    await opened.client.delete(WORKFLOWS, wanted, at, propagation="Background")
                click.echo(f"Workflow '{wanted}' deleted{' (dry-run)' if dry_run else ''}")

    run(work())
