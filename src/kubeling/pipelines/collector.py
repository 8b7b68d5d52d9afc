"""Garbage collection of runs: archives and deletes what the policies mean.

Upstream: ``backend/src/apiserver/gc`` (runs by age, archived runs by age); ours keeps the last of
each experiment, tells states, namespaces and experiments apart, and takes the files along that no
run that stays, no registered and no served model refers to. A run goes in steps that may be
repeated: its object with its pods and their logs, its files, its rows. Until the last is done the
run is found again by the next pass.
"""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.store import local_path
from kubeling.component import Context
from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj
from kubeling.kube.resources import NAMESPACES
from kubeling.pipelines.active import store_folder
from kubeling.pipelines.bucket_access import open_bucket
from kubeling.pipelines.launcher import is_stored
from kubeling.pipelines.logs import logs_of_run
from kubeling.pipelines.records import FINAL_STATES
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.retention import Victim, victims
from kubeling.pipelines.run_deletion import RunFiles, delete_artifacts, delete_runs, files_of
from kubeling.pipelines.settings import PipelineSettings, Retention
from kubeling.pipelines.step_pods import delete_pods, old_pods
from kubeling.pipelines.tables import RUNS as TABLE
from kubeling.pipelines.used_elsewhere import UnknownUse, addresses_in_use

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["Collection", "Collector"]

_ALL: Final = 2**31 - 1
_AHEAD: Final = 10_000
"""How many runs are looked for at once: ranking an experiment's runs reads all of them."""
_COLLECTED: Final = "kubeling_pipeline_runs_collected_total"
_BYTES: Final = "kubeling_pipeline_collected_bytes_total"


@dataclass(slots=True)
class Collection:
    """What one pass did, or would do."""

    archived: list[Victim] = field(default_factory=list)
    deleted: list[Victim] = field(default_factory=list)
    artifacts: int = 0
    bytes: int = 0
    pods: int = 0
    kept_files: str = ""
    """Why files stay that should have been deleted."""


class Collector:
    """Carries out retention policies."""

    def __init__(
        self, context: Context, database: Database, settings: PipelineSettings, *, files: bool
    ) -> None:
        self._context = context
        self._database = database
        self._files = files
        self._batch = settings.collection_batch
        self._pods_after = settings.delete_pods_after
        self._recorder = context.recorder("pipeline-collector")
        context.metrics.declare(_COLLECTED, "Runs that retention policies took.", "counter")
        context.metrics.declare(_BYTES, "Bytes of local files that went with them.", "counter")

    async def plan(self, policies: Iterable[Retention]) -> Collection:
        """What a pass would do now, without doing it."""
        found = Collection()
        seen: set[str] = set()
        for policy in policies:
            meant = await self._victims(policy, _ALL)
            fresh = [victim for victim in meant if victim.run_id not in seen]
            (found.archived if policy.action == "archive" else found.deleted).extend(fresh)
            seen.update(victim.run_id for victim in fresh)
        found.pods = len(await self._old_pods())
        return found

    async def collect(self, policies: Iterable[Retention]) -> Collection:
        """Archives and deletes until the policies mean nothing more."""
        found = Collection()
        used = await self._used(found) if self._files else None
        for policy in policies:
            while ahead := await self._victims(policy, _AHEAD):
                for start in range(0, len(ahead), self._batch):
                    await self._take(policy, ahead[start : start + self._batch], used, found)
                if len(ahead) < _AHEAD:
                    break
        pods = await self._old_pods()
        await delete_pods(self._context, pods)
        found.pods = len(pods)
        metrics = self._context.metrics
        metrics.add(_COLLECTED, {"action": "archive"}, len(found.archived))
        metrics.add(_COLLECTED, {"action": "delete"}, len(found.deleted))
        metrics.add(_BYTES, {}, found.bytes)
        await self._tell(found)
        return found

    async def _take(
        self, policy: Retention, chosen: list[Victim], used: set[str] | None, found: Collection
    ) -> None:
        """Archives or deletes those of the chosen that nobody has sent back to work since."""
        ids = [victim.run_id for victim in chosen]
        query = sa.select(TABLE.c.run_id).where(
            TABLE.c.run_id.in_(ids), TABLE.c.state.in_(FINAL_STATES)
        )
        ended = await self._database.run(lambda c: set(c.execute(query).scalars()))
        batch = [victim for victim in chosen if victim.run_id in ended]
        if policy.action == "archive":
            await self._archive(batch)
            found.archived += batch
        else:
            await self._delete(batch, used, found)
            found.deleted += batch

    async def _old_pods(self) -> list[Obj]:
        if not self._pods_after:
            return []
        age = dt.timedelta(seconds=parse_duration(self._pods_after))
        return await old_pods(self._context, self._database, age)

    async def _victims(self, policy: Retention, limit: int) -> list[Victim]:
        now = self._context.clock.now().astimezone(dt.UTC).replace(tzinfo=None)
        return await self._database.run(lambda c: victims(c, policy, now, limit))

    async def _used(self, found: Collection) -> set[str] | None:
        try:
            return await addresses_in_use(self._context)
        except UnknownUse as error:
            found.kept_files = str(error)
            return None

    async def _archive(self, batch: Sequence[Victim]) -> None:
        ids = [victim.run_id for victim in batch]
        query = sa.update(TABLE).where(TABLE.c.run_id.in_(ids), TABLE.c.storage_state != "ARCHIVED")
        await self._database.run(lambda c: c.execute(query.values(storage_state="ARCHIVED")))

    async def _delete(
        self, batch: Sequence[Victim], used: set[str] | None, found: Collection
    ) -> None:
        for victim in batch:
            await self._context.client.delete(
                RUNS,
                victim.name,
                victim.namespace,
                propagation="Background",
                uid=victim.run_id,
                missing_ok=True,
            )
        ids = [victim.run_id for victim in batch]
        gone: list[int] = []
        await asyncio.to_thread(self._delete_logs, batch)
        if used is not None:
            files = await self._database.run(lambda c: files_of(c, ids))
            gone = await asyncio.to_thread(self._delete_files, batch, files, used, found)
            gone += await self._delete_objects(batch, files, used, found)

        def work(connection: sa.Connection) -> None:
            if used is not None:
                delete_artifacts(connection, gone, ids)
            delete_runs(connection, ids)

        await self._database.run(work)

    def _delete_files(
        self, batch: Sequence[Victim], files: RunFiles, used: set[str], found: Collection
    ) -> list[int]:
        """Deletes what nothing refers to; returns the artifacts that are gone."""
        kept = [path for uri in files.kept | used if (path := local_path(uri)) is not None]
        gone = []
        folders = [folder for victim in batch for folder in self._folders(victim)]
        for artifact, uri in files.unused.items():
            path = local_path(uri)
            inside = path is not None and any(path.is_relative_to(f) for f in folders)
            if path is None or not inside or _touches(path, kept):
                continue
            found.bytes += _remove(path)
            found.artifacts += 1
            gone.append(artifact)
        for folder in folders:
            if not _touches(folder, kept):
                found.bytes += _remove(folder)
        return gone

    async def _delete_objects(
        self, batch: Sequence[Victim], files: RunFiles, used: set[str], found: Collection
    ) -> list[int]:
        """Deletes what the runs keep in buckets; returns the artifacts that are gone."""
        gone = []
        for artifact, uri in files.unused.items():
            owner = next((v for v in batch if f"/{v.run_id}/" in uri), None)
            if owner is None or not is_stored(uri) or any(_overlap(uri, u) for u in used):
                continue
            try:
                bucket, key = await open_bucket(self._context.client, owner.namespace, uri)
                await asyncio.to_thread(bucket.delete, key)
            except ArtifactError as error:
                found.kept_files = str(error)
                continue
            found.artifacts += 1
            gone.append(artifact)
        return gone

    def _delete_logs(self, batch: Sequence[Victim]) -> None:
        for victim in batch:
            logs = logs_of_run(self._context.artifacts, victim.namespace, victim.run_id)
            shutil.rmtree(logs, ignore_errors=True)

    def _folders(self, victim: Victim) -> list[Path]:
        """Where a run kept its files: below its namespace, then its pipeline, by its id."""
        below = Path(store_folder(self._context.artifacts, victim.namespace))
        return [path for path in below.glob(f"*/{victim.run_id}") if path.is_dir()]

    async def _tell(self, found: Collection) -> None:
        """One Event for each namespace that something was taken from."""
        archived = collections.Counter(victim.namespace for victim in found.archived)
        deleted = collections.Counter(victim.namespace for victim in found.deleted)
        for where in sorted(archived | deleted):
            namespace = await self._context.client.find(NAMESPACES, where)
            if namespace is None:
                continue
            text = f"{archived[where]} runs archived, {deleted[where]} deleted by retention policy"
            await self._recorder.normal(namespace, "RunsCollected", text)
            if found.kept_files and deleted[where]:
                text = f"The files of deleted runs were kept: {found.kept_files}"
                await self._recorder.warning(namespace, "FilesKept", text)


def _touches(path: Path, others: Iterable[Path]) -> bool:
    """Whether one of the others is this path, in it, or around it."""
    return any(other.is_relative_to(path) or path.is_relative_to(other) for other in others)


def _overlap(uri: str, other: str) -> bool:
    """Whether one address is the other, or in it."""
    first, second = f"{uri.rstrip('/')}/", f"{other.rstrip('/')}/"
    return first.startswith(second) or second.startswith(first)


def _remove(path: Path) -> int:
    """Deletes a file or a folder and returns its size."""
    if not path.is_dir() or path.is_symlink():
        size = path.lstat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
        return size
    size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    shutil.rmtree(path, ignore_errors=True)
    return size
