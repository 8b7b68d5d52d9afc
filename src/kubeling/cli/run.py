"""``kubeling run``: a file of stages as an ordinary workflow."""

from __future__ import annotations

from pathlib import Path

import click

from kubeling.cli.connection import connected, resource_options, run
from kubeling.cli.errors import CliError
from kubeling.cli.instance import Instance
from kubeling.kube import yaml
from kubeling.kube.objects import Obj

__all__ = ["run_stages"]


@click.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--wait/--no-wait", default=True, help="Wait for the end; fail if it fails.")
@resource_options
def run_stages(
    file: Path, wait: bool, namespace: str, kubeconfig: Path | None, data_dir: Path
) -> int:
    """Run a file of stages: each a script, notebook or component of that name."""
    from kubeling.workflows.stages import workflow_from_stages

    try:
        document = yaml.load(file.read_text())
        workspace = Path(Instance(data_dir).require_running().workspace)
        workflow = workflow_from_stages(document, workspace)
    except ValueError as error:
        raise CliError(f"{file}: {error}") from None
    return run(_submit(workflow, wait, namespace, kubeconfig, data_dir))


async def _submit(
    workflow: Obj, wait: bool, namespace: str, kubeconfig: Path | None, data_dir: Path
) -> int:
    from kubeling.workflows.resources import WORKFLOWS

    async with connected(data_dir, kubeconfig, namespace) as connection:
        client, where = connection.client, connection.namespace
        created = await client.create(WORKFLOWS, workflow, where)
        name = created["metadata"]["name"]
        click.echo(f"workflow {name} created")
        if not wait:
            return 0
        shown: set[tuple[str, str]] = set()
        while True:
            async for event in client.watch(WORKFLOWS, where, fields=f"metadata.name={name}"):
                status = event.object.get("status") or {}
                for node in (status.get("nodes") or {}).values():
                    mark = (node.get("displayName", ""), node.get("phase", ""))
                    if node.get("type") == "Pod" and mark not in shown:
                        shown.add(mark)
                        click.echo(f"  {mark[0]:<30} {mark[1]}")
                phase = status.get("phase", "")
                if phase in ("Succeeded", "Failed", "Error"):
                    click.echo(f"workflow {name} {phase.lower()}")
                    if phase != "Succeeded":
                        click.echo(f"  See why with: kubeling why workflow/{name}")
                    return 0 if phase == "Succeeded" else 1
