"""``kubeling workflow lint``."""

from __future__ import annotations

from typing import Final

import click

from kubeling.cli.errors import CliError
from kubeling.cli.workflow.options import Place, place_options

__all__ = ["lint"]

_KINDS: Final = ("workflows", "workflowtemplates", "cronworkflows", "clusterworkflowtemplates")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--kinds", default="all", help=f"Only these: {','.join(_KINDS)}.")
@click.option("-o", "--output", type=click.Choice(["pretty", "simple"]), default="pretty")
@click.option("--strict/--no-strict", default=True, help="Refuse fields that a kind has not.")
@click.option("--offline", is_flag=True, help="Without a server.")
@place_options
def lint(
    files: tuple[str, ...], kinds: str, output: str, strict: bool, offline: bool, place: Place
) -> int:
    """Check manifests (files, folders, - for standard input); 1 if something is wrong."""
    from kubeling.cli.workflow.checking import lint_objects
    from kubeling.workflows import resources

    wanted = _KINDS if kinds == "all" else tuple(kinds.split(","))
    if unknown := sorted(set(wanted) - set(_KINDS)):
        raise CliError(f'there is no kind "{unknown[0]}"', f"There are: {', '.join(_KINDS)}.")
    known = (
        resources.WORKFLOWS,
        resources.WORKFLOW_TEMPLATES,
        resources.CRON_WORKFLOWS,
        resources.CLUSTER_WORKFLOW_TEMPLATES,
    )
    chosen = [resource for resource in known if resource.plural in wanted]
    return lint_objects(files, chosen, output, strict, offline, place)
