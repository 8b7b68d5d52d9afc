"""The rows behind :mod:`kubeling.workflows.sync_limits`, by ``NAMESPACE/KEY``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from kubeling.metadata.database import METADATA

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["LIMITS", "SyncLimitStore"]

LIMITS: Final = sa.Table(
    "sync_limit",
    METADATA,
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("sizelimit", sa.Integer),
)


class SyncLimitStore:
    """Reads and writes limits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, names: Sequence[str]) -> dict[str, int]:
        """The limits of those names that have one."""
        query = sa.select(LIMITS.c.name, LIMITS.c.sizelimit).where(LIMITS.c.name.in_(names))

        def select(connection: sa.Connection) -> dict[str, int]:
            return {row[0]: int(row[1] or 0) for row in connection.execute(query)}

        return await self._database.run(select)

    async def create(self, name: str, limit: int) -> bool:
        """Sets a limit that there is not; whether there was none."""

        def insert(connection: sa.Connection) -> bool:
            known = sa.select(LIMITS.c.name).where(LIMITS.c.name == name)
            if connection.execute(known).first() is not None:
                return False
            connection.execute(sa.insert(LIMITS), {"name": name, "sizelimit": limit})
            return True

        return await self._database.run(insert)

    async def update(self, name: str, limit: int) -> bool:
        """Changes a limit; whether there was one."""
        changed = sa.update(LIMITS).where(LIMITS.c.name == name).values(sizelimit=limit)
        return await self._database.run(lambda connection: connection.execute(changed).rowcount > 0)

    async def delete(self, name: str) -> bool:
        """Takes a limit away; whether there was one."""
        gone = sa.delete(LIMITS).where(LIMITS.c.name == name)
        return await self._database.run(lambda connection: connection.execute(gone).rowcount > 0)
