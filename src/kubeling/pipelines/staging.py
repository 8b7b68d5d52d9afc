"""Bringing what importers name to where a step finds it.

What belongs to an object store is moved by containers of the step's own pod
(:mod:`kubeling.pipelines.exchange`); here is what the whole run, or the namespace, has once.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from kubeling.artifacts.errors import written_error
from kubeling.artifacts.store import ArtifactStore
from kubeling.kube.client import Client
from kubeling.pipelines.active import ActiveRun
from kubeling.pipelines.launcher import is_stored
from kubeling.pipelines.mirror import as_steps_see, is_on_the_web
from kubeling.pipelines.nodes import ArtifactRef, Inputs
from kubeling.pipelines.placeholders import artifact_path
from kubeling.pipelines.secret_values import secret_values
from kubeling.pipelines.workspace import IN_WORKSPACE, workspace_artifact, workspace_folder

__all__ = ["fetch_inputs"]


async def fetch_inputs(
    active: ActiveRun, client: Client, store: ArtifactStore, inputs: Inputs
) -> None:
    """Fetches what is not there yet; raises :class:`ArtifactError`."""
    for artifact in (one for found in inputs.artifacts.values() for one in found):
        if is_on_the_web(artifact.uri):
            await _from_the_web(active, artifact.uri)
        if artifact.metadata.get(IN_WORKSPACE) is True:
            await _into_workspace(active, client, store, artifact)


async def _from_the_web(active: ActiveRun, uri: str) -> None:
    from kubeling.artifacts.drivers import driver_of
    from kubeling.artifacts.locations import HTTP

    path = Path(as_steps_see(uri, active.volume_folder))
    if not await asyncio.to_thread(path.exists):
        await asyncio.to_thread(_place, path, driver_of(HTTP(url=uri), {}).load)


async def _into_workspace(
    active: ActiveRun, client: Client, store: ArtifactStore, artifact: ArtifactRef
) -> None:
    seen = as_steps_see(artifact.uri, active.volume_folder)
    folder = workspace_folder(active.execution.facts.folder)
    target = Path(workspace_artifact(folder, artifact_path({"uri": seen})))
    if await asyncio.to_thread(target.exists):
        return
    if is_stored(artifact.uri):
        await asyncio.to_thread(_place, target, await _loader(active, client, artifact.uri))
        return
    found = store.local_path(seen)
    if found is not None and await asyncio.to_thread(found.exists):
        # Not linked: what is in the workspace is the steps' to change.
        await asyncio.to_thread(_place, target, lambda fresh: _copy(found, fresh))


async def _loader(active: ActiveRun, client: Client, uri: str) -> Callable[[Path], object]:
    from kubeling.artifacts.drivers import driver_of

    variables: list[dict[str, object]] = []
    location = active.launcher.location(uri, variables, [])
    env = await secret_values(client, active.execution.facts.namespace, variables)
    return driver_of(location, env).load


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _place(path: Path, write: Callable[[Path], object]) -> None:
    """Makes a file or folder appear whole, whoever else does the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetched-") as scratch:
            fresh = Path(scratch) / "artifact"
            write(fresh)
            with contextlib.suppress(FileExistsError):
                fresh.rename(path)
    except OSError as error:
        raise written_error(path, error) from error
