"""Requests and answers in the metadata database: the last of each service, for some weeks."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from kubeling.metadata.database import METADATA
from kubeling.serving.requestlog.record import Kind

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["REQUESTS", "Filed", "Filter", "RequestStore"]

_PLACE: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""Counts all events there ever were; SQLite's integers are as long, by this name alone."""

REQUESTS: Final = sa.Table(
    "serving_requests",
    METADATA,
    sa.Column("id", _PLACE, primary_key=True, autoincrement=True),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("service", sa.String(63), nullable=False),
    sa.Column("request_id", sa.String(255), nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("component", sa.String(16), nullable=False),
    sa.Column("revision", sa.String(253), nullable=False),
    sa.Column("model", sa.String(253), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
_TABLE: Final = REQUESTS.c
_MOST: Final = 100_000
"""Events of a service that are kept."""
_DAYS: Final = 30
_LARGEST: Final = 1 << 20
_SWEEP: Final = 1000


class Filed(msgspec.Struct):
    """A request or an answer; ``data`` and ``metadata`` are JSON."""

    id: str
    kind: Kind
    time: dt.datetime
    component: str
    revision: str
    model: str
    status: int
    data: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class Filter(msgspec.Struct):
    """Which to read: the newest first, before a place in the log."""

    id: str = ""
    kind: str = ""
    component: str = ""
    revision: str = ""
    status: int | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    before: int | None = None
    limit: int = 100


class RequestStore:
    """The log of each service."""

    def __init__(self, database: Callable[[], Awaitable[Database]]) -> None:
        self._database = database
        self._unswept = 0

    async def add(self, namespace: str, service: str, filed: Sequence[Filed]) -> None:
        """Files events, and forgets what is too old or too much."""
        rows = [_row(namespace, service, one) for one in filed]
        if not rows:
            return
        self._unswept += len(rows)
        sweep = self._unswept >= _SWEEP
        if sweep:
            self._unswept = 0

        def write(connection: sa.Connection) -> None:
            connection.execute(sa.insert(REQUESTS), rows)
            if sweep:
                _sweep(connection, namespace, service, min(rows[-1]["time"], _now()))

        await (await self._database()).run(write)

    async def read(self, namespace: str, service: str, asked: Filter) -> list[dict[str, Any]]:
        """The events that a filter lets through."""
        query = (
            sa.select(REQUESTS)
            .where(_TABLE.namespace == namespace, _TABLE.service == service, *_wanted(asked))
            .order_by(_TABLE.id.desc())
            .limit(asked.limit)
        )

        def select(connection: sa.Connection) -> list[dict[str, Any]]:
            return [_shown(row) for row in connection.execute(query).mappings()]

        return await (await self._database()).run(select)


def _wanted(asked: Filter) -> Iterable[sa.ColumnElement[bool]]:
    for column, value in (
        (_TABLE.request_id, asked.id),
        (_TABLE.kind, asked.kind),
        (_TABLE.component, asked.component),
        (_TABLE.revision, asked.revision),
    ):
        if value:
            yield column == value
    if asked.status is not None:
        yield _TABLE.status == asked.status
    if asked.since is not None:
        yield _TABLE.time >= _stamp(asked.since)
    if asked.until is not None:
        yield _TABLE.time <= _stamp(asked.until)
    if asked.before is not None:
        yield _TABLE.id < asked.before


def _sweep(connection: sa.Connection, namespace: str, service: str, now: int) -> None:
    oldest = now - _DAYS * 24 * 3600 * 1_000_000
    connection.execute(sa.delete(REQUESTS).where(_TABLE.time < oldest))
    mine = sa.and_(_TABLE.namespace == namespace, _TABLE.service == service)
    last = connection.execute(
        sa.select(_TABLE.id).where(mine).order_by(_TABLE.id.desc()).offset(_MOST).limit(1)
    ).scalar()
    if last is not None:
        connection.execute(sa.delete(REQUESTS).where(mine, _TABLE.id <= last))


def _row(namespace: str, service: str, one: Filed) -> dict[str, Any]:
    data = bytes(one.data)
    if len(data) > _LARGEST:
        data = msgspec.json.encode({"omitted": f"{len(data)} bytes; more than {_LARGEST}"})
    return {
        "namespace": namespace,
        "service": service,
        "request_id": one.id[:255],
        "kind": one.kind,
        "time": _stamp(one.time),
        "component": one.component[:16],
        "revision": one.revision[:253],
        "model": one.model[:253],
        "status": one.status,
        "metadata": bytes(one.metadata).decode(),
        "data": data.decode(),
    }


def _shown(row: sa.RowMapping) -> dict[str, Any]:
    when = dt.datetime.fromtimestamp(row["time"] / 1_000_000, dt.UTC)
    return {
        "place": row["id"],
        "id": row["request_id"],
        "kind": row["kind"],
        "time": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "component": row["component"],
        "revision": row["revision"],
        "model": row["model"],
        "status": row["status"],
        "metadata": msgspec.Raw(row["metadata"].encode()),
        "data": msgspec.Raw(row["data"].encode()),
    }


def _now() -> int:
    """A server's clock may be ahead, and must not make the others' requests old."""
    return time.time_ns() // 1000


def _stamp(when: dt.datetime) -> int:
    """Microseconds since 1970."""
    aware = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    return int((aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1))
