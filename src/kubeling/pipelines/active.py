"""A run that the controller has in hand: its execution, and what it has not yet done or stored.

Everything here can be thrown away at any moment: it is made again from the Run object, the rows of
the database and the pods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubeling.artifacts.store import ArtifactError, ArtifactStore, local_path
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.pipelines.caching import CacheRules
from kubeling.pipelines.execution import Execution
from kubeling.pipelines.kubernetes import pipeline_config, workspace_of
from kubeling.pipelines.launcher import Launcher, is_stored
from kubeling.pipelines.macros import expand_run_id
from kubeling.pipelines.nodes import TaskNode
from kubeling.pipelines.packages import Package
from kubeling.pipelines.records import RunRecord
from kubeling.pipelines.resources import RunSpec
from kubeling.pipelines.run_facts import RunFacts

__all__ = ["ActiveRun", "UnusableRun", "store_folder"]


class UnusableRun(ValueError):
    """A run that cannot begin; the message says why and what to do."""


class ActiveRun:
    """A run under way."""

    def __init__(
        self,
        run: Obj,
        spec: RunSpec,
        package: Package,
        store: ArtifactStore,
        record: RunRecord,
        nodes: dict[str, TaskNode],
        cache: CacheRules,
        launcher: Launcher,
    ) -> None:
        self.run = run
        self.launcher = launcher
        self.package = package
        self.record = record
        self.volume_folder = store_folder(store, namespace(run))
        facts = _facts(run, spec, package, self.volume_folder, cache, launcher)
        self.execution = Execution(
            package.spec, facts, nodes, record.epoch, package.platform, _identify(store)
        )
        self.saved_at = self.written_at = float("-inf")
        self.write_interval = 0.0
        self.told_no_room = False
        self.away_since: dict[tuple[str, int], float] = {}
        """By task and attempt, when the store of an input was first found to be away."""
        self.unwritten = True  # whoever had it before may have stored more than it told
        self.announced: set[str] = {n.path for n in nodes.values() if n.final}

    @property
    def platform(self) -> dict[str, Any]:
        return self.package.platform


def store_folder(store: ArtifactStore, where: str) -> str:
    """The part of the store that the pods of a namespace mount."""
    return str(store.folder / "pipelines" / where)


def _facts(
    run: Obj,
    spec: RunSpec,
    package: Package,
    volume_folder: str,
    cache: CacheRules,
    launcher: Launcher,
) -> RunFacts:
    pipeline = package.spec.pipeline_info.name
    root, store_root = volume_folder, ""
    given = spec.pipeline_root or package.spec.default_pipeline_root or launcher.default_root
    if is_stored(given):
        store_root = f"{given.rstrip('/')}/{_segment(pipeline)}/{uid(run)}"
    elif given:
        path = local_path(given)
        if path is None:
            raise UnusableRun(
                f'pipeline root "{given}": use s3://, minio:// or gs://, or a folder below '
                f"{volume_folder}, or leave it out to use the artifact store"
            )
        root = str(path)
        if not path.is_relative_to(volume_folder):
            raise UnusableRun(f'pipeline root "{given}" is not below {volume_folder}')
    return RunFacts(
        uid(run),
        name(run),
        namespace(run),
        spec.display_name or name(run),
        run["metadata"].get("creationTimestamp", ""),
        spec.scheduled_at or "",
        f"{root}/{_segment(pipeline)}/{uid(run)}",
        expand_run_id(spec.parameters, uid(run)),
        spec.pipeline_root,
        int(pipeline_config(package.platform).get("activeDeadlineSeconds") or 0),
        workspace_of(package.platform) is not None,
        cache,
        store_root,
    )


def _identify(store: ArtifactStore) -> Callable[[str], str]:
    """What tells one state of a file from another; times and sizes do, and are soon read."""

    def identify(uri: str) -> str:
        try:
            return store.digest(uri, limit=0)
        except (ArtifactError, OSError):
            return ""

    return identify


def _segment(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text).strip(".") or "pipeline"
