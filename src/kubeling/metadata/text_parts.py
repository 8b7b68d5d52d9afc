"""Rows by part of a text, from an index of its trigrams (migration 0010 makes them).

Only SQLite needs this: PostgreSQL's planner finds its own index, and MySQL has none that knows
every part. An index finds exactly the rows that ``LIKE`` finds: both sides are in lower letters by
SQLite's ``lower``, which like its ``LIKE`` changes ASCII only. Parts too short for a trigram are
the beginnings of trigrams.

An index helps where few rows match. Where many do, a list in the order of its own index meets a
page of them soon, so what asks for rows here gives a limit, and gets none beyond it.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

__all__ = ["TextParts"]

_TRIGRAM: Final = 3
_SHORT_COUNT: Final = 20_000
"""Up to so many beginnings of trigrams are counted sooner than all names are read."""


class TextParts:
    """The index of one text column of a table."""

    def __init__(self, column: sa.Column[Any], name: str) -> None:
        self.column = column
        self._name = name

    def few(self, connection: sa.Connection, part: str, limit: int) -> sa.CTE | None:
        """The rows that contain a part, as a table of the same name; none if they are many.

        Added to a query (``Select.add_cte``), it stands for the table in all of it.
        """
        if not self._can_find(connection, part) or self._exceeds(connection, part, limit):
            return None
        rows, values = self._rows(part)
        table = self.column.table.name
        whole = sa.text(f"SELECT * FROM main.{table} WHERE rowid IN ({rows})").bindparams(**values)
        return whole.columns(*self.column.table.c).cte(table).prefix_with("MATERIALIZED")

    def count(self, connection: sa.Connection, part: str) -> int | None:
        """How many rows contain a part; none if counting here takes longer than reading them."""
        if not self._can_find(connection, part):
            return None
        rows, values = self._rows(part)
        query = f"SELECT count(*) FROM ({rows})"
        if len(part) < _TRIGRAM:
            if self._exceeds(connection, part, _SHORT_COUNT):
                return None
            query = f"SELECT count(DISTINCT doc) FROM ({rows})"
        return int(connection.execute(sa.text(query), values).scalar_one())

    def _exceeds(self, connection: sa.Connection, part: str, limit: int) -> bool:
        rows, values = self._rows(part)
        query = f"SELECT count(*) FROM ({rows} LIMIT {limit + 1})"
        return int(connection.execute(sa.text(query), values).scalar_one()) > limit

    def _can_find(self, connection: sa.Connection, part: str) -> bool:
        if connection.dialect.name != "sqlite" or not part or not part.isprintable():
            return False
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"
        return connection.execute(sa.text(query), {"name": f"{self._name}_terms"}).scalar() == 1

    def _rows(self, part: str) -> tuple[str, dict[str, str]]:
        """The statement that reads the rows' numbers, and its values."""
        if len(part) >= _TRIGRAM:
            phrase = '"' + part.replace('"', '""') + '"'
            query = f"SELECT rowid FROM {self._name} WHERE {self._name} MATCH lower(:part)"
            return query, {"part": phrase}
        query = (
            f"SELECT doc FROM {self._name}_terms "
            "WHERE term >= lower(:part) AND term < lower(:part) || char(1114111)"
        )
        return query, {"part": part}
