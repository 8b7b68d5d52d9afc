"""``kubeling workflow submit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.workflow.options import (
    Place,
    follow_options,
    parameter_option,
    place_options,
)

__all__ = ["submit"]


@click.command()
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("--from", "source", default="", help="From KIND/NAME: workflowtemplate/x, cronwf/y.")
@click.option("--name", default="", help="Override metadata.name.")
@click.option("--generate-name", default="", help="Override metadata.generateName.")
@click.option("--entrypoint", default="", help="Override the entrypoint.")
@parameter_option
@click.option(
    "-f",
    "--parameter-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML or JSON file with arguments.",
)
@click.option("--serviceaccount", default="", help="Run all pods as this service account.")
@click.option("-l", "--labels", default="", help="Labels to add: key1=a,key2=b.")
@click.option("--annotations", default="", help="Annotations to add: key1=a,key2=b.")
@click.option("--priority", type=int, help="The workflow's priority.")
@click.option("--scheduled-time", default="", help="Override the scheduled time (RFC 3339).")
@click.option("--dry-run", is_flag=True, help="Show what would be submitted.")
@click.option("--server-dry-run", is_flag=True, help="Show what the server would make of it.")
@click.option("--strict/--no-strict", default=True, help="Refuse fields that a kind has not.")
@follow_options
@click.option("--status", default="", help="With --watch: only steps in this phase.")
@click.option("--node-field-selector", default="", help="With --watch: only these steps.")
@place_options
def submit(
    files: tuple[str, ...],
    source: str,
    parameters: tuple[str, ...],
    parameter_file: Path | None,
    scheduled_time: str,
    strict: bool,
    output: str | None,
    wait: bool,
    watch: bool,
    log: bool,
    status: str,
    node_field_selector: str,
    place: Place,
    **given: Any,
) -> int:
    """Submit the workflows in files (- for standard input), or one from a template."""
    _check(files, source, given, output, wait=wait, watch=watch)
    from kubeling.cli.workflow.parameters import parameters_of
    from kubeling.cli.workflow.reading import tree_options
    from kubeling.cli.workflow.submitting import Submission, submission_options, submit_all

    if scheduled_time:
        scheduled = f"workflows.argoproj.io/scheduled-time={scheduled_time}"
        given["annotations"] = ",".join(filter(None, [given["annotations"], scheduled]))
    arguments = parameters_of(parameters, parameter_file)
    what = Submission(
        files,
        source,
        submission_options(given, arguments),
        strict=strict,
        dry_run=given["dry_run"],
        server_dry_run=given["server_dry_run"],
        output=output,
    )
    tree = tree_options(node_field_selector, status)
    try:
        return run(submit_all(what, place, tree, wait=wait, watch=watch, log=log))
    except ValueError as error:
        raise CliError(str(error)) from None


def _check(
    files: tuple[str, ...],
    source: str,
    given: dict[str, Any],
    output: str | None,
    *,
    wait: bool,
    watch: bool,
) -> None:
    """Refuses what does not go together, in the words of Argo's command line."""
    dry = [flag for flag in ("dry_run", "server_dry_run") if given[flag]]
    named = [f"--{flag.replace('_', '-')}" for flag in dry]
    if bool(files) == bool(source):
        raise CliError(
            "cannot combine --from with file arguments" if files else "nothing to submit",
            "Name files, or a template with --from workflowtemplate/NAME.",
        )
    if wait and watch:
        raise CliError("--wait cannot be combined with --watch")
    if len(dry) > 1:
        raise CliError("--dry-run cannot be combined with --server-dry-run")
    for flag, wanted in (("--wait", wait), ("--watch", watch)):
        if wanted and dry:
            raise CliError(f"{flag} cannot be combined with {named[0]}")
    if dry and output is None:
        raise CliError(f"{named[0]} should have an output option", "Add -o yaml.")
