"""``kubeling pipelines``: what is kept of runs that have ended, and getting at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.instance import Instance, data_dir_option

__all__ = ["pipelines"]


@click.group()
def pipelines() -> None:
    """Look after pipelines' runs."""


@pipelines.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be archived and deleted.")
@click.option("--max-age", default="", help="Runs that ended longer ago, as in 720h or 30d.")
@click.option("--keep-last", default=0, help="All but so many of each experiment.")
@click.option("--experiment", default="", help="Only runs of this experiment.")
@click.option("-n", "--namespace", default="", help="Only runs of this namespace.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"], case_sensitive=False),
    help="Only runs that ended so; may be repeated.",
)
@click.option("--archive", is_flag=True, help="Archive runs instead of deleting them.")
@click.option(
    "--artifacts/--no-artifacts",
    default=None,
    help="Delete files, too, that nothing else refers to.  [default: as the settings say]",
)
@data_dir_option
def gc(
    dry_run: bool,
    max_age: str,
    keep_last: int,
    experiment: str,
    namespace: str,
    states: tuple[str, ...],
    archive: bool,
    artifacts: bool | None,
    data_dir: Path,
) -> None:
    """Archive or delete runs that have ended.

    Without --max-age and --keep-last the policies of the settings hold (pipelines.retention,
    pipelines.archive_runs_after, pipelines.delete_archived_runs_after).
    """
    policy: dict[str, Any] = {
        "max_age": max_age,
        "keep_last": keep_last,
        "experiment": experiment,
        "namespace": namespace,
        "states": [state.upper() for state in states],
        "action": "archive" if archive else "delete",
    }
    given = bool(max_age or keep_last)
    if not given and (experiment or namespace or states or archive):
        raise CliError(
            "which runs are meant? --max-age or --keep-last is missing",
            "Try: kubeling pipelines gc --dry-run --keep-last 10",
        )
    body: dict[str, Any] = {"dry_run": dry_run, "policies": [policy] if given else []}
    if artifacts is not None:
        body["collect_artifacts"] = artifacts
    url = Instance(data_dir).require_running().dashboard
    _print(run(_ask(url, body)))


@pipelines.command()
@click.argument("artifact")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@data_dir_option
def download(artifact: str, target: Path | None, data_dir: Path) -> None:
    """Download an artifact, a file or a whole folder, by its id.

    What was begun before goes on where it stopped.
    """
    from kubeling.cli.downloading import download_artifact

    url = Instance(data_dir).require_running().dashboard
    path = run(download_artifact(url, artifact, target))
    click.echo(f"Downloaded to {path}.")


async def _ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    import aiohttp

    path = f"{url}/apis/v2beta1/runs:collect"
    timeout = aiohttp.ClientTimeout(total=None, connect=10)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(path, json=body) as response,
    ):
        answer: dict[str, Any] = await response.json()
        if response.status >= 400:
            raise CliError(str(answer.get("message", answer)))
        return answer


def _print(found: dict[str, Any]) -> None:
    if not found["policies"] and not found["pods"]:
        click.echo("There is no policy: set pipelines.retention, or give --max-age or --keep-last.")
        return
    would = "would be " if found["dry_run"] else ""
    for action in ("archived", "deleted"):
        for run_ in found[f"{action}_runs"]:
            ended = run_["finished_at"][:19].replace("T", " ")
            name = run_.get("display_name", "")
            click.echo(f"{would}{action}  {run_['run_id']}  {ended}  {run_['state']:9}  {name}")
    counts = f"{found['archived']} runs {would}archived, {found['deleted']} {would}deleted"
    if not found["dry_run"]:
        mib = int(found["bytes"]) / 1024**2
        counts += f", {found['artifacts']} artifacts with them ({mib:,.1f} MiB)"
    if found["pods"]:
        counts += f"; {found['pods']} pods of steps {would}deleted"
    click.echo(counts + ".")
    if found["kept_files"]:
        click.echo(f"Files were kept: {found['kept_files']}")
