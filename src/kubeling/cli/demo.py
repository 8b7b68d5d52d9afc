"""``kubeling demo``: the main job, on a platform of its own."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import click

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Instance, default_data_dir
from kubeling.cli.lifecycle import remove
from kubeling.cli.running.starting import start_platform

__all__ = ["demo", "demo_files"]


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    show_default="that of kubeling up, with -demo added",
    help="Where the demo's platform keeps everything.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, nothing else.")
@click.option("--stop", is_flag=True, help="Stop the platform at the end and delete what it keeps.")
def demo(data_dir: Path | None, as_json: bool, stop: bool) -> int:
    """Run the main job: prepare, tune, train, register, serve, canary, monitor.

    On real data, with the manifests and scripts of examples/demo. The platform stays up for you to
    look at; should it end meanwhile, the demo waits until it is started again, and goes on. The
    exit code is 0 only if the numbers hold.
    """
    from kubeling.cli.demo_run.runner import run_demo

    if data_dir is None:
        base = default_data_dir()
        data_dir = base.with_name(f"{base.name}-demo")
    instance = Instance(data_dir)
    workspace = instance.data_dir.with_name(f"{instance.data_dir.name}-workspace")
    _copy(demo_files(), workspace)
    endpoints = instance.running() or start_platform(instance, workspace)
    try:
        return asyncio.run(run_demo(instance, endpoints, workspace, as_json))
    finally:
        if stop:
            remove(instance)
            shutil.rmtree(workspace)


def demo_files() -> Path:
    """The folder of the demo's manifests and scripts: in the package, or in the repository."""
    package = Path(__file__).parent.parent
    for folder in (package / "examples" / "demo", package.parent.parent / "examples" / "demo"):
        if folder.is_dir():
            return folder
    raise CliError("the demo's files are not installed")


def _copy(source: Path, workspace: Path) -> None:
    workspace.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file():
            shutil.copy(file, workspace)
