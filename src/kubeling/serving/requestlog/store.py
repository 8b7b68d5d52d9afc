"""Requests and answers in the metadata database: the last of each service, for some weeks."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import sqlalchemy as sa

from kubeling.metadata.database import METADATA
from kubeling.serving.requestlog.record import Kind

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["REQUESTS", "Filed", "Filter", "Page", "RequestStore"]

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
    sa.Column("size", sa.Integer, nullable=False),
)
_TABLE: Final = REQUESTS.c
_MOST: Final = 100_000
"""Events of a service that are kept."""
_DAYS: Final = 30
_LARGEST: Final = 1 << 20
"""Bytes of an event that are kept; of a larger one it is said how large it was."""
_PAGE: Final = 8 << 20
"""Bytes after which an answer ends, however many events were asked for."""
_AT_ONCE: Final = 8
_SWEEP: Final = 1000
_SWEEP_SHARE: Final = 8
"""What is too much is forgotten after so many events, or this part of the bytes, of a service."""


_Int32 = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Int64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Numbers as large as the database has room for."""


class Filed(msgspec.Struct):
    """A request or an answer; ``data`` and ``metadata`` are JSON."""

    id: str
    kind: Kind
    time: dt.datetime
    component: str
    revision: str
    model: str
    status: _Int32
    data: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class Filter(msgspec.Struct):
    """Which to read: the newest first, before a place in the log."""

    id: str = ""
    kind: str = ""
    component: str = ""
    revision: str = ""
    status: _Int32 | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    before: _Int64 | None = None
    limit: int = 100


class Page(msgspec.Struct, frozen=True):
    """Events, and the place before which older ones are, if the page does not hold all."""

    events: list[dict[str, Any]]
    older: int | None


class RequestStore:
    """The log of each service, of which the last ``kept_bytes`` are kept."""

    def __init__(self, database: Callable[[], Awaitable[Database]], kept_bytes: int) -> None:
        self._database = database
        self._kept_bytes = kept_bytes
        self._unswept: dict[tuple[str, str], tuple[int, int]] = {}

    async def add(self, namespace: str, service: str, filed: Sequence[Filed]) -> None:
        """Files events, and forgets what is too old or too much."""
        rows = [_row(namespace, service, one) for one in filed]
        if not rows:
            return
        sweep = self._is_to_sweep((namespace, service), rows)

        def write(connection: sa.Connection) -> None:
            connection.execute(sa.insert(REQUESTS), rows)
            if sweep:
                now = min(rows[-1]["time"], _now())
                _sweep(connection, namespace, service, now, self._kept_bytes)

        await (await self._database()).run(write)

    def _is_to_sweep(self, service: tuple[str, str], rows: Sequence[dict[str, Any]]) -> bool:
        """Whether enough came since the last time; after a start nobody knows what did before."""
        events, size = self._unswept.get(service, (_SWEEP, 0))
        events, size = events + len(rows), size + sum(row["size"] for row in rows)
        sweep = events >= _SWEEP or size >= self._kept_bytes // _SWEEP_SHARE
        self._unswept[service] = (0, 0) if sweep else (events, size)
        return sweep

    async def read(self, namespace: str, service: str, asked: Filter) -> Page:
        """The events that a filter lets through, as many as fit on a page."""
        query = (
            sa.select(REQUESTS)
            .where(_TABLE.namespace == namespace, _TABLE.service == service, *_wanted(asked))
            .order_by(_TABLE.id.desc())
            .limit(asked.limit)
        )

        def select(connection: sa.Connection) -> Page:
            return _page(connection, query, asked.limit)

        return await (await self._database()).run(select)


def _wanted(asked: Filter) -> Iterable[sa.ColumnElement[bool]]:
    for column, value in (
        (_TABLE.request_id, asked.id),
        (_TABLE.kind, asked.kind),
        (_TABLE.component, asked.component),
        (_TABLE.revision, asked.revision),
    ):
        if value:
            yield column == _text(value, len(value))
    if asked.status is not None:
        yield _TABLE.status == asked.status
    if asked.since is not None:
        yield _TABLE.time >= _stamp(asked.since)
    if asked.until is not None:
        yield _TABLE.time <= _stamp(asked.until)
    if asked.before is not None:
        yield _TABLE.id < asked.before


def _page(connection: sa.Connection, query: sa.Select[Any], limit: int) -> Page:
    """Reads a few at once, and no more when the page is full."""
    events: list[dict[str, Any]] = []
    size = 0
    with connection.execute(query, execution_options={"yield_per": _AT_ONCE}) as found:
        for row in found.mappings():
            size += row["size"]
            if events and size > _PAGE:
                return Page(events, events[-1]["place"])
            events.append(_shown(row))
    return Page(events, events[-1]["place"] if len(events) == limit else None)


def _sweep(
    connection: sa.Connection, namespace: str, service: str, now: int, kept_bytes: int
) -> None:
    oldest = now - _DAYS * 24 * 3600 * 1_000_000
    connection.execute(sa.delete(REQUESTS).where(_TABLE.time < oldest))
    mine = sa.and_(_TABLE.namespace == namespace, _TABLE.service == service)
    newest_first = _TABLE.id.desc()
    kept = (
        sa.select(
            _TABLE.id,
            sa.func.row_number().over(order_by=newest_first).label("events"),
            sa.func.sum(_TABLE.size).over(order_by=newest_first).label("size"),
        )
        .where(mine)
        .subquery()
    )
    too_much = sa.or_(kept.c.events > _MOST, kept.c.size > kept_bytes)
    last = connection.execute(sa.select(sa.func.max(kept.c.id)).where(too_much)).scalar()
    if last is not None:
        connection.execute(sa.delete(REQUESTS).where(mine, _TABLE.id <= last))


def _row(namespace: str, service: str, one: Filed) -> dict[str, Any]:
    data, metadata = _kept(one.data), _kept(one.metadata)
    return {
        "namespace": namespace,
        "service": service,
        "request_id": _text(one.id, 255),
        "kind": one.kind,
        "time": _stamp(one.time),
        "component": _text(one.component, 16),
        "revision": _text(one.revision, 253),
        "model": _text(one.model, 253),
        "status": one.status,
        "metadata": metadata.decode(errors="replace"),
        "data": data.decode(errors="replace"),
        "size": len(metadata) + len(data),
    }


def _text(given: str, most: int) -> str:
    """What of a text PostgreSQL keeps, too: a zero byte would cost the whole batch."""
    return given.replace("\0", "")[:most]


def _kept(sent: msgspec.Raw) -> bytes:
    """What was sent, or how much it was."""
    content = bytes(sent)
    if len(content) <= _LARGEST:
        return content
    return msgspec.json.encode({"omitted": f"{len(content)} bytes; more than {_LARGEST}"})


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
