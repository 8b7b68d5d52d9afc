"""The rows that finished Workflows are kept in (see :mod:`kubeling.workflows.archive`).

A row has the Workflow whole, compressed, and beside it what lists show and select by; a list never
unpacks a Workflow. Upstream: ``persist/sqldb/workflow_archive.go``.

A list reads the keys of its page from an index in its order, and then those rows. Where a label or
a name leads to few rows, SQLite, which keeps no statistics, is told to begin with them.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import LONGTEXT

from kubeling.kube.objects import Obj, labels, name, namespace, parse_time, uid
from kubeling.kube.selectors import Requirement
from kubeling.metadata.database import METADATA
from kubeling.workflows.listing import WorkflowFilter

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["LABELS", "WORKFLOWS", "ArchiveStore", "label_rows", "workflow_row"]

WORKFLOWS: Final = sa.Table(
    "archived_workflows",
    METADATA,
    sa.Column("uid", sa.String(36), primary_key=True),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("name", sa.String(253), nullable=False),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime, nullable=False),
    sa.Column("summary", sa.Text().with_variant(LONGTEXT, "mysql"), nullable=False),
    sa.Column("body", sa.LargeBinary(2**32 - 1), nullable=False),
    sa.Index("archived_workflows_started", "started_at", "uid"),
    sa.Index("archived_workflows_namespace", "namespace", "started_at", "uid"),
    sa.Index("archived_workflows_name", "name"),
    sa.Index("archived_workflows_finished", "finished_at"),
)
LABELS: Final = sa.Table(
    "archived_workflow_labels",
    METADATA,
    sa.Column("uid", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(317), primary_key=True),
    sa.Column("value", sa.String(63), nullable=False),
    sa.Index("archived_workflow_labels_name", "name", "value"),
)
_LONG: Final = ("summary", "body")
_FEW: Final = 1000
_CHUNK: Final = 500
_LAST: Final = "\U0010ffff"
_W: Final = WORKFLOWS.c
_L: Final = LABELS.c
_METADATA: Final = ("name", "namespace", "uid", "creationTimestamp", "labels", "annotations")
_SPEC: Final = ("suspend", "arguments", "priority", "workflowTemplateRef")
_STATUS: Final = (
    "phase",
    "startedAt",
    "finishedAt",
    "progress",
    "message",
    "estimatedDuration",
    "resourcesDuration",
)


class ArchiveStore:
    """Reads and writes the archive; each method is one transaction and may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, workflow: Obj) -> None:
        """Files a finished Workflow, in place of what was filed of it before."""
        values, labelled = workflow_row(workflow), label_rows(workflow)

        def write(connection: sa.Connection) -> None:
            _delete(connection, [values["uid"]])
            connection.execute(sa.insert(WORKFLOWS), values)
            if labelled:
                connection.execute(sa.insert(LABELS), labelled)

        await self._database.run(write)

    async def page(
        self,
        wanted: WorkflowFilter,
        limit: int = 0,
        offset: int = 0,
        *,
        without: Collection[str] = (),
    ) -> list[Obj]:
        """What lists show of the Workflows, the last started first; all of them without a limit.

        ``without`` are the uids of some that are not to be among them.
        """
        keys = sa.select(_W.uid).where(*_conditions(wanted), *_excluding(without))
        keys = keys.order_by(_W.started_at.desc(), _W.uid.desc())
        if limit:
            keys = keys.limit(limit).offset(offset)

        def read(connection: sa.Connection) -> list[str]:
            order = connection.execute(_among_few(connection, wanted, keys)).scalars().all()
            found: dict[str, str] = {}
            for start in range(0, len(order), _CHUNK):
                chosen = _W.uid.in_(order[start : start + _CHUNK])
                rows = connection.execute(sa.select(_W.uid, _W.summary).where(chosen))
                found.update((key, summary) for key, summary in rows)
            # One may have been deleted since the order was read.
            return [found[key] for key in order if key in found]

        return [msgspec.json.decode(row) for row in await self._database.run(read)]

    async def count(self, wanted: WorkflowFilter, *, without: Collection[str] = ()) -> int:
        """How many there are."""
        conditions = (*_conditions(wanted), *_excluding(without))
        query = sa.select(sa.func.count()).select_from(WORKFLOWS).where(*conditions)
        found = await self._database.run(lambda c: c.execute(_among_few(c, wanted, query)).scalar())
        return found or 0

    async def get(self, *, uid: str = "", namespace: str = "", name: str = "") -> Obj | None:
        """A Workflow whole, by its uid or else the newest of that name."""
        query = sa.select(_W.body)
        if uid:
            query = query.where(_W.uid == uid)
        elif namespace and name:
            query = query.where(_W.namespace == namespace, _W.name == name)
        else:
            return None
        query = query.order_by(_W.started_at.desc()).limit(1)
        body = await self._database.run(lambda c: c.execute(query).scalar())
        return None if body is None else msgspec.json.decode(zlib.decompress(body))

    async def delete(self, uid: str) -> None:
        """Takes a Workflow out of the archive."""
        await self._database.run(lambda c: _delete(c, [uid]))

    async def expire(self, before: dt.datetime) -> None:
        """Takes out what ended before then."""

        def work(connection: sa.Connection) -> None:
            ended = sa.select(_W.uid).where(_W.finished_at < _naive(before))
            connection.execute(sa.delete(LABELS).where(_L.uid.in_(ended)))
            connection.execute(sa.delete(WORKFLOWS).where(_W.finished_at < _naive(before)))

        await self._database.run(work)

    async def label_keys(self) -> list[str]:
        """The labels that archived Workflows have."""
        query = sa.select(_L.name).distinct().order_by(_L.name)
        return list(await self._database.run(lambda c: c.execute(query).scalars().all()))

    async def label_values(self, key: str) -> list[str]:
        """The values that a label has."""
        query = sa.select(_L.value).where(_L.name == key).distinct().order_by(_L.value)
        return list(await self._database.run(lambda c: c.execute(query).scalars().all()))


def workflow_row(workflow: Obj) -> dict[str, Any]:
    status = workflow["status"]
    created = str(workflow["metadata"]["creationTimestamp"])
    started = str(status.get("startedAt") or created)
    return {
        "uid": uid(workflow),
        "namespace": namespace(workflow),
        "name": name(workflow),
        "phase": status["phase"],
        "created_at": _naive(parse_time(created)),
        "started_at": _naive(parse_time(started)),
        "finished_at": _naive(parse_time(status.get("finishedAt") or started)),
        "summary": msgspec.json.encode(_summary(workflow)).decode(),
        "body": zlib.compress(msgspec.json.encode(workflow), 1),
    }


def _summary(workflow: Obj) -> Obj:
    """What upstream's list returns of an archived Workflow."""
    parts = (("metadata", _METADATA), ("spec", _SPEC), ("status", _STATUS))
    return {
        "apiVersion": workflow["apiVersion"],
        "kind": workflow["kind"],
        **{
            part: {key: workflow[part][key] for key in keys if key in workflow[part]}
            for part, keys in parts
        },
    }


def label_rows(workflow: Obj) -> list[dict[str, str]]:
    own = uid(workflow)
    return [{"uid": own, "name": k, "value": v} for k, v in labels(workflow).items()]


def _delete(connection: sa.Connection, uids: list[str]) -> None:
    connection.execute(sa.delete(LABELS).where(_L.uid.in_(uids)))
    connection.execute(sa.delete(WORKFLOWS).where(_W.uid.in_(uids)))


def _conditions(wanted: WorkflowFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.namespace:
        same = _W.namespace == wanted.namespace
        yield ~same if wanted.other_namespaces else same
    if wanted.name:
        yield _name_condition(wanted)
    if wanted.name_prefix:
        yield _W.name.startswith(wanted.name_prefix, autoescape=True)
    if wanted.started_after is not None:
        yield _W.started_at >= _naive(wanted.started_after)
    if wanted.started_before is not None:
        yield _W.started_at <= _naive(wanted.started_before)
    if wanted.created_after is not None:
        yield _W.created_at >= _naive(wanted.created_after)
    if wanted.finished_before is not None:
        yield _W.finished_at <= _naive(wanted.finished_before)
    for requirement in wanted.labels.requirements if wanted.labels else ():
        yield _label_condition(requirement)


_Query = TypeVar("_Query", bound=sa.Select[Any])


def _among_few(connection: sa.Connection, wanted: WorkflowFilter, query: _Query) -> _Query:
    """The query, of few rows only where a label or a name leads to no more."""
    if connection.dialect.name != "sqlite":
        return query
    for lead in _leads(wanted):
        rows = connection.execute(lead.limit(_FEW + 1)).scalars().all()
        if len(rows) <= _FEW:
            columns = ", ".join(column.name for column in WORKFLOWS.c if column.name not in _LONG)
            few = sa.text(f"SELECT {columns} FROM main.archived_workflows WHERE rowid IN :rows")
            chosen = few.bindparams(sa.bindparam("rows", list(rows), expanding=True))
            # In place of the table, in all of the query.
            named = chosen.columns(*WORKFLOWS.c).cte(WORKFLOWS.name)
            return query.add_cte(named.prefix_with("MATERIALIZED"))
    return query


def _leads(wanted: WorkflowFilter) -> Iterator[sa.Select[Any]]:
    """The rows' numbers by each condition that may be met by few."""
    number = sa.literal_column("archived_workflows.rowid", sa.Integer)
    for requirement in wanted.labels.requirements if wanted.labels else ():
        if requirement.operator == "In":
            labelled = sa.and_(_L.name == requirement.key, _L.value.in_(requirement.values))
            both = LABELS.join(WORKFLOWS, _L.uid == _W.uid)
            yield sa.select(number).select_from(both).where(labelled)
    by_name = sa.select(number).select_from(WORKFLOWS)
    if wanted.name_prefix:
        yield by_name.where(*_beginning(wanted.name_prefix))
    if wanted.name and wanted.name_filter == "Prefix":
        yield by_name.where(*_beginning(wanted.name))
    if wanted.name and wanted.name_filter == "Contains":
        yield by_name.where(_name_condition(wanted))


def _beginning(text: str) -> tuple[sa.ColumnElement[bool], ...]:
    """A range of the index; names have small letters only."""
    return _W.name >= text.lower(), _W.name < text.lower() + _LAST


def _excluding(uids: Collection[str]) -> Iterator[sa.ColumnElement[bool]]:
    if uids:
        # Written out, because there may be more than a statement can have parameters.
        yield _W.uid.not_in(
            sa.bindparam("without", list(uids), expanding=True, literal_execute=True)
        )


def _name_condition(wanted: WorkflowFilter) -> sa.ColumnElement[bool]:
    match wanted.name_filter:
        case "Contains":
            return _W.name.contains(wanted.name, autoescape=True)
        case "Prefix":
            return _W.name.startswith(wanted.name, autoescape=True)
        case "NotEquals":
            return _W.name != wanted.name
        case _:
            return _W.name == wanted.name


def _label_condition(requirement: Requirement) -> sa.ColumnElement[bool]:
    """Asked of each row: lists go by time and end with their page, however many match."""
    has = sa.select(_L.uid).where(_L.uid == _W.uid, _L.name == requirement.key)
    if requirement.values:
        has = has.where(_L.value.in_(requirement.values))
    negative = requirement.operator in ("NotIn", "DoesNotExist")
    return ~has.exists() if negative else has.exists()


def _naive(moment: dt.datetime) -> dt.datetime:
    """The time as the tables keep it."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None)
