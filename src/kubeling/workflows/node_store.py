"""The rows that the nodes of large Workflows are kept in (see :mod:`kubeling.workflows.offload`).

Every writer names the version it has seen: a second one (``resume`` through the Argo Server API)
makes the first fail with :class:`Overtaken` instead of being written over. The rows are written
before the status that mentions their version, so after a crash they are what it says, or newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from kubeling.kube.errors import Conflict
from kubeling.kube.objects import Obj
from kubeling.metadata.database import METADATA

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["NODES", "OFFLOADS", "NodeStore", "Overtaken"]

OFFLOADS: Final = sa.Table(
    "workflow_offloads",
    METADATA,
    sa.Column("workflow_uid", sa.String(36), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)
NODES: Final = sa.Table(
    "workflow_nodes",
    METADATA,
    sa.Column("workflow_uid", sa.String(36), primary_key=True),
    sa.Column("node_id", sa.String(128), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("node", sa.Text().with_variant(MEDIUMTEXT, "mysql"), nullable=False),
)
_AT_ONCE: Final = 500


class Overtaken(Conflict):
    """Somebody else has written the nodes since they were read."""


class NodeStore:
    """Reads and writes the nodes of large Workflows, one row each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, workflow_uid: str) -> tuple[int, dict[str, Obj]]:
        """The version and the nodes, in the order they came about."""

        def select(connection: sa.Connection) -> tuple[int, list[tuple[str, str]]]:
            rows = connection.execute(
                sa.select(NODES.c.node_id, NODES.c.node)
                .where(NODES.c.workflow_uid == workflow_uid)
                .order_by(NODES.c.position)
            ).all()
            return _version(connection, workflow_uid), [(row[0], row[1]) for row in rows]

        version, rows = await self._database.run(select)
        return version, {key: msgspec.json.decode(text) for key, text in rows}

    async def save(
        self,
        workflow_uid: str,
        nodes: Mapping[str, tuple[int, bytes]],
        known: int | None,
        *,
        whole: bool = False,
    ) -> int:
        """Writes nodes (place and JSON by id) and returns the new version.

        ``known`` is the version they are based on, ``None`` if none has been written; with
        ``whole``, these are all there are. Raises :class:`Overtaken`.
        """
        rows = [
            {"uid": workflow_uid, "id": key, "position": place, "node": text.decode()}
            for key, (place, text) in nodes.items()
        ]

        def write(connection: sa.Connection) -> int:
            version = _version(connection, workflow_uid)
            if known is not None and known != version:
                raise Overtaken(f"nodes of workflow {workflow_uid}: {version} is not {known}")
            if known is None or whole:
                _delete(connection, [workflow_uid])
            elif rows:
                connection.execute(
                    sa.delete(NODES).where(
                        NODES.c.workflow_uid == sa.bindparam("uid"),
                        NODES.c.node_id == sa.bindparam("id"),
                    ),
                    rows,
                )
            if rows:
                _insert(connection, rows)
            _set_version(connection, workflow_uid, version + 1)
            return version + 1

        return await self._database.run(write)

    async def forget(self, uids: Iterable[str]) -> None:
        """Deletes the nodes of Workflows that are no more."""
        gone = list(uids)
        await self._database.run(lambda connection: _delete(connection, gone))

    async def sweep(self, alive: Iterable[str]) -> None:
        """Deletes the nodes of all Workflows but these."""
        kept = set(alive)

        def delete(connection: sa.Connection) -> None:
            found = connection.execute(sa.select(OFFLOADS.c.workflow_uid)).scalars()
            _delete(connection, [known for known in found if known not in kept])

        await self._database.run(delete)


def _version(connection: sa.Connection, workflow_uid: str) -> int:
    query = sa.select(OFFLOADS.c.version).where(OFFLOADS.c.workflow_uid == workflow_uid)
    return int(connection.execute(query.with_for_update()).scalar() or 0)


def _set_version(connection: sa.Connection, workflow_uid: str, version: int) -> None:
    connection.execute(sa.delete(OFFLOADS).where(OFFLOADS.c.workflow_uid == workflow_uid))
    values = {"workflow_uid": workflow_uid, "version": version}
    connection.execute(sa.insert(OFFLOADS), values)


def _insert(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    columns: dict[str, Any] = {
        "workflow_uid": sa.bindparam("uid"),
        "node_id": sa.bindparam("id"),
        "position": sa.bindparam("position"),
        "node": sa.bindparam("node"),
    }
    connection.execute(sa.insert(NODES).values(columns), rows)


def _delete(connection: sa.Connection, uids: list[str]) -> None:
    for begin in range(0, len(uids), _AT_ONCE):
        some = uids[begin : begin + _AT_ONCE]
        for table in (NODES, OFFLOADS):
            connection.execute(sa.delete(table).where(table.c.workflow_uid.in_(some)))
