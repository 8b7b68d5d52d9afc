"""Runs and their tasks in the metadata database.

Each method is one transaction and may be repeated: rows are made from content, so what a crash cut
off is written again with the same keys.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from kubeling.kube.objects import Obj, name, namespace, parse_time, uid
from kubeling.pipelines.lineage import Lineage, lineage_of
from kubeling.pipelines.nodes import Outputs, TaskNode, task_id
from kubeling.pipelines.records import FINAL_STATES, CacheEntry, EarlierKey, RunRecord
from kubeling.pipelines.resources import decode_run
from kubeling.pipelines.restarting import restart
from kubeling.pipelines.spec_store import spec_row
from kubeling.pipelines.tables import (
    ARTIFACT_TASKS,
    ARTIFACTS,
    CACHE,
    EXPERIMENTS,
    METRICS,
    RUNS,
    SPECS,
    TASKS,
    VERSIONS,
)

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["EXTERNAL", "RunStore", "default_experiment", "ensure_run", "latest_version", "upsert"]

EXTERNAL: Final = "external"
"""The kind of tasks that clients filed: no nodes of an execution."""

T = TypeVar("T")
_NEAREST_OF: Final = 10
_DEFAULT: Final = "Default"
_DEFAULT_DESCRIPTION: Final = (
    "All runs created without specifying an experiment will be grouped here."
)


_CACHED: Final = sa.select(
    CACHE.c.fingerprint, CACHE.c.run_id, CACHE.c.task_id, CACHE.c.created_at, CACHE.c.outputs
).where(
    CACHE.c.namespace == sa.bindparam("where"),
    CACHE.c.fingerprint.in_(sa.bindparam("wanted", expanding=True)),
)
"""Asked before every step: making a statement takes longer than the answer."""


class RunStore:
    """The runs' side of the metadata database; safe to use from many tasks at once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def load(
        self, run: Obj, wrapped: Obj, now: dt.datetime
    ) -> tuple[RunRecord, dict[str, TaskNode]]:
        """A run's record, made if need be, and its nodes; starts what it has to do again."""
        run_id, epoch = uid(run), decode_run(run).retries

        def work(connection: sa.Connection) -> tuple[RunRecord, dict[str, TaskNode]]:
            ensure_run(connection, run, wrapped, now)
            record = _record(connection, run_id)
            nodes = _nodes(connection, run_id)
            if record.epoch < epoch:
                record = _restart(connection, run, nodes, epoch, now)
            return record, nodes

        return await self.database.run(work)

    async def save(
        self,
        run: Obj,
        nodes: Sequence[TaskNode],
        record: RunRecord,
        now: dt.datetime,
        key_parts: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        """Writes changed nodes, what they made, and the run's state.

        ``key_parts`` has, by path, what keys of the cache were made from.
        """
        run_id, where = uid(run), namespace(run)
        rows = [_task_row(run_id, node) for node in nodes]
        lineage = lineage_of(run_id, where, nodes, now)
        cached = [
            _cache_row(run_id, where, node, now, key_parts.get(node.path))
            for node in nodes
            if _is_cacheable(node)
        ]

        def work(connection: sa.Connection) -> None:
            upsert(connection, TASKS, rows)
            _save_lineage(connection, lineage)
            upsert(connection, CACHE, cached)
            _update_run(connection, run_id, record)

        await self.database.run(work)

    async def cached(self, where: str, fingerprints: Iterable[str]) -> dict[str, CacheEntry]:
        """Earlier tasks with the given keys."""
        wanted = {"where": where, "wanted": list(fingerprints)}

        def work(connection: sa.Connection) -> dict[str, CacheEntry]:
            rows = connection.execute(_CACHED, wanted)
            return {
                row.fingerprint: CacheEntry(
                    row.run_id,
                    row.task_id,
                    row.created_at,
                    msgspec.json.decode(row.outputs, type=Outputs),
                )
                for row in rows
            }

        return await self.database.run(work)

    async def earlier_keys(
        self, where: str, components: Iterable[str]
    ) -> dict[str, list[EarlierKey]]:
        """By component, what the latest keys of its tasks were made from, latest first."""
        wanted = sorted(components)
        columns = CACHE.c

        def work(connection: sa.Connection) -> dict[str, list[EarlierKey]]:
            found = {}
            for component in wanted:
                query = sa.select(columns.run_id, columns.created_at, columns.parts)
                query = query.where(columns.namespace == where, columns.component == component)
                query = query.order_by(columns.created_at.desc()).limit(_NEAREST_OF)
                found[component] = [
                    EarlierKey(row.run_id, row.created_at, msgspec.json.decode(row.parts))
                    for row in connection.execute(query)
                ]
            return found

        return await self.database.run(work)

    async def nodes(self, run_id: str) -> dict[str, TaskNode]:
        """The tasks of a run by path, and the run itself."""
        return await self.database.run(lambda connection: _nodes(connection, run_id))

    async def forget_cached(self, own_task_id: str) -> int:
        """Takes what a task made out of the cache, also if it took it from there itself."""

        def work(connection: sa.Connection) -> int:
            query = sa.select(TASKS.c.run_id, TASKS.c.body).where(TASKS.c.task_id == own_task_id)
            row = connection.execute(query).first()
            key = msgspec.json.decode(row.body, type=TaskNode).fingerprint if row else ""
            where = sa.select(RUNS.c.namespace).where(RUNS.c.run_id == (row.run_id if row else ""))
            found = sa.delete(CACHE).where(CACHE.c.fingerprint == key, CACHE.c.namespace.in_(where))
            return connection.execute(found).rowcount if key else 0

        return await self.database.run(work)

    async def version_spec(self, pipeline_id: str, version_id: str) -> Obj | None:
        """The spec of an uploaded version, of the latest one if none is named."""

        def work(connection: sa.Connection) -> Obj | None:
            query = sa.select(VERSIONS.c.pipeline_spec).where(VERSIONS.c.pipeline_id == pipeline_id)
            if version_id:
                query = query.where(VERSIONS.c.pipeline_version_id == version_id)
            query = query.order_by(VERSIONS.c.created_at.desc()).limit(1)
            found: Obj | None = connection.execute(query).scalar()
            return found

        return await self.database.run(work)

    async def unfinished(self) -> list[tuple[str, str]]:
        """Namespace and name of the runs that have not ended."""

        def work(connection: sa.Connection) -> list[tuple[str, str]]:
            query = sa.select(RUNS.c.namespace, RUNS.c.name).where(
                RUNS.c.state.not_in(FINAL_STATES)
            )
            return [(row.namespace, row.name) for row in connection.execute(query)]

        return await self.database.run(work)

    async def close_deleted(self, where: str, run_name: str, now: dt.datetime) -> None:
        """Ends the record of a run whose object is gone."""

        def work(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(RUNS)
                .where(
                    RUNS.c.namespace == where,
                    RUNS.c.name == run_name,
                    RUNS.c.state.not_in(FINAL_STATES),
                )
                .values(
                    state="FAILED",
                    error="the Run object was deleted",
                    finished_at=now.replace(tzinfo=None),
                )
            )

        await self.database.run(work)


def ensure_run(connection: sa.Connection, run: Obj, wrapped: Obj, now: dt.datetime) -> None:
    """Files a Run object, once; an experiment it does not name is the default one."""
    run_id = uid(run)
    if connection.execute(sa.select(RUNS.c.run_id).where(RUNS.c.run_id == run_id)).scalar():
        return
    experiment = decode_run(run).experiment_id or default_experiment(connection, now)
    # The API and a controller in another process may do this at the same moment.
    specification = spec_row(wrapped)
    row = _run_row(run, str(specification["digest"]), experiment, now)
    upsert(connection, SPECS, [specification], keep=True)
    upsert(connection, RUNS, [row], keep=True)
    connection.execute(
        sa.update(EXPERIMENTS)
        .where(EXPERIMENTS.c.experiment_id == experiment)
        .values(last_run_created_at=row["created_at"])
    )


def _run_row(run: Obj, spec_digest: str, experiment: str, now: dt.datetime) -> dict[str, Any]:
    spec = decode_run(run)
    reference, config = spec.pipeline_version_reference, spec.runtime_config
    scheduled = parse_time(spec.scheduled_at) if spec.scheduled_at else None
    given = {"parameters": spec.parameters, "pipeline_root": spec.pipeline_root} if config else {}
    return {
        "run_id": uid(run),
        "namespace": namespace(run),
        "name": name(run),
        "display_name": spec.display_name or name(run),
        "description": spec.description,
        "experiment_id": experiment,
        "pipeline_id": reference.pipeline_id if reference else "",
        "pipeline_version_id": reference.pipeline_version_id if reference else "",
        "recurring_run_id": spec.recurring_run_id,
        "service_account": spec.service_account,
        "storage_state": "AVAILABLE",
        "state": "PENDING",
        "state_history": [{"update_time": _stamp(now), "state": "PENDING"}],
        "error": "",
        "epoch": 0,
        "runtime_config": given,
        "spec_digest": spec_digest,
        "plugins_input": spec.plugins_input,
        "created_at": _naive(now),
        "scheduled_at": _naive(scheduled),
        "finished_at": None,
    }


def latest_version(connection: sa.Connection, pipeline_id: str) -> str:
    """The id of a pipeline's latest version; empty if it has none."""
    columns = VERSIONS.c
    query = sa.select(columns.pipeline_version_id).where(columns.pipeline_id == pipeline_id)
    found = connection.execute(query.order_by(columns.created_at.desc()).limit(1)).scalar()
    return str(found or "")


def default_experiment(connection: sa.Connection, now: dt.datetime) -> str:
    """The id of the experiment for runs that name none, made on first use."""
    query = sa.select(EXPERIMENTS.c.experiment_id).where(
        EXPERIMENTS.c.display_name == _DEFAULT, EXPERIMENTS.c.namespace == ""
    )
    if found := connection.execute(query).scalar():
        return str(found)
    row = {
        "experiment_id": str(uuid.uuid4()),
        "namespace": "",
        "display_name": _DEFAULT,
        "description": _DEFAULT_DESCRIPTION,
        "storage_state": "AVAILABLE",
        "created_at": now.replace(tzinfo=None),
    }
    upsert(connection, EXPERIMENTS, [row], keep=True)
    return str(connection.execute(query).scalar_one())


def _record(connection: sa.Connection, run_id: str) -> RunRecord:
    row = connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).one()
    finished = row.finished_at.replace(tzinfo=dt.UTC) if row.finished_at else None
    return RunRecord(row.state, row.error, row.epoch, list(row.state_history), finished)


def _nodes(connection: sa.Connection, run_id: str) -> dict[str, TaskNode]:
    rows = connection.execute(
        sa.select(TASKS.c.body).where(TASKS.c.run_id == run_id, TASKS.c.kind != EXTERNAL)
    )
    nodes = (msgspec.json.decode(row.body, type=TaskNode) for row in rows)
    return {node.path: node for node in nodes}


def _restart(
    connection: sa.Connection, run: Obj, nodes: dict[str, TaskNode], epoch: int, now: dt.datetime
) -> RunRecord:
    fresh = restart(nodes.values(), epoch)
    nodes.update({node.path: node for node in fresh})
    upsert(connection, TASKS, [_task_row(uid(run), node) for node in fresh])
    record = _record(connection, uid(run))
    history = [*record.state_history, {"update_time": _stamp(now), "state": "RUNNING"}]
    record = RunRecord("RUNNING", "", epoch, history, None)
    _update_run(connection, uid(run), record)
    return record


def _update_run(connection: sa.Connection, run_id: str, record: RunRecord) -> None:
    finished = record.finished_at
    connection.execute(
        sa.update(RUNS)
        .where(RUNS.c.run_id == run_id)
        .values(
            state=record.state,
            error=record.error,
            epoch=record.epoch,
            state_history=record.state_history,
            finished_at=finished.replace(tzinfo=None) if finished else None,
        )
    )


def _task_row(run_id: str, node: TaskNode) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "path": node.path,
        "task_id": task_id(run_id, node.path),
        "name": node.name,
        "display_name": node.display_name[:255],
        "kind": node.kind,
        "state": node.state,
        "cached": bool(node.cached_from),
        "pod": node.pod,
        "created_at": _naive(node.created_at),
        "started_at": _naive(node.started_at),
        "finished_at": _naive(node.finished_at),
        "body": msgspec.json.encode(node),
    }


def _is_cacheable(node: TaskNode) -> bool:
    return bool(node.fingerprint) and node.state == "SUCCEEDED" and not node.cached_from


def _cache_row(
    run_id: str, where: str, node: TaskNode, now: dt.datetime, parts: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        "namespace": where,
        "fingerprint": node.fingerprint,
        "run_id": run_id,
        "task_id": task_id(run_id, node.path),
        "outputs": msgspec.json.encode(node.outputs),
        "created_at": now.replace(tzinfo=None),
        "component": node.component[:255] if parts else "",
        "parts": msgspec.json.encode(parts) if parts else None,
    }


def _save_lineage(connection: sa.Connection, lineage: Lineage) -> None:
    upsert(connection, ARTIFACTS, lineage.artifacts, keep=True)
    upsert(connection, ARTIFACT_TASKS, lineage.events, keep=True)
    upsert(connection, METRICS, lineage.metrics)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keep: bool = False,
) -> None:
    """Inserts rows; those whose key is there are replaced, or kept, without a race.

    They are written in the order of their keys, so that two writers do not wait for each other.
    """
    unique = {tuple(row[c.name] for c in table.primary_key): row for row in rows}
    if not unique:
        return
    statement = _UPSERTS[connection.dialect.name](table, keep)
    connection.execute(statement, [unique[key] for key in sorted(unique)])


def _on_conflict(insert: Callable[[sa.Table], Any]) -> Callable[[sa.Table, bool], Any]:
    def build(table: sa.Table, keep: bool) -> Any:
        statement = insert(table)
        keys = list(table.primary_key)
        if keep:
            return statement.on_conflict_do_nothing()
        values = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        return statement.on_conflict_do_update(index_elements=keys, set_=values)

    return build


def _mysql(table: sa.Table, keep: bool) -> Any:
    from sqlalchemy.dialects.mysql import insert

    statement = insert(table)
    if keep:
        return statement.prefix_with("IGNORE")
    values = {c.name: statement.inserted[c.name] for c in table.c if not c.primary_key}
    return statement.on_duplicate_key_update(**values)


def _sqlite(table: sa.Table) -> Any:
    from sqlalchemy.dialects.sqlite import insert

    return insert(table)


def _postgresql(table: sa.Table) -> Any:
    from sqlalchemy.dialects.postgresql import insert

    return insert(table)


_UPSERTS: Final[dict[str, Callable[[sa.Table, bool], Any]]] = {
    "sqlite": _on_conflict(_sqlite),
    "postgresql": _on_conflict(_postgresql),
    "mysql": _mysql,
}


def _naive(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment else None


def _stamp(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
