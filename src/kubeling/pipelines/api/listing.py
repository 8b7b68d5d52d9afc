"""Lists, for every kind alike: filtered, sorted, and handed out in pages.

Pages are found by key, not by offset: a token holds the last row's sort value and key, so page
10,000 costs as much as the first, and rows that come or go meanwhile shift nothing. Where not every
row has a sort value, a list is two segments one after the other, those with and those without, each
read in the order of an index.

Rows that few texts lead to are read by an index of the text's parts and then filtered and sorted;
where many do, a page of them is soon met in the list's own order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from kubeling.metadata.text_parts import TextParts
from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.filters import Exclusion, conditions
from kubeling.pipelines.api.paging import ListOptions, Token
from kubeling.pipelines.api.text_search import PartOf

__all__ = ["Listable", "Page", "Segment", "list_rows"]

Column = sa.ColumnElement[Any]
Condition = sa.ColumnElement[bool] | Exclusion

_FEW: Final = 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a sorted list: rows of ``source``, by ``order`` if they have it, then by key."""

    source: sa.FromClause
    order: Column | None
    where: Sequence[sa.ColumnElement[bool]] = ()


@dataclass(frozen=True, slots=True)
class Listable:
    """What a kind can be filtered and sorted by.

    ``extra_filters`` finds the column of a key that is not in ``columns``; ``extra_orders`` the
    segments of a sort key that is not. ``choices`` are all values of a field that has few, the
    one that most rows have first, ``spellings`` what clients write for values that are kept
    otherwise, ``parts`` the indices of texts.
    """

    table: sa.FromClause
    key: Column
    columns: Mapping[str, Column]
    created: Column
    extra_filters: Callable[[str], Column | None] = lambda _: None
    extra_orders: Callable[[str], Sequence[Segment] | None] = lambda _: None
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    spellings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    parts: Sequence[TextParts] = ()

    def filtered(self, name: str) -> Column:
        """The column that a filter names."""
        found = self.columns.get(name)
        if found is None:
            found = self.extra_filters(name)
        if found is None:
            raise self._unknown("filter", name)
        return found

    def segments(self, name: str, descending: bool) -> Sequence[Segment]:
        """The list in order of a field; ascending, rows without a value come first."""
        column = self.columns.get(name) if name else self.created
        if column is None:
            extra = self.extra_orders(name)
            if extra is None:
                raise self._unknown("sort", name)
            return extra
        if not getattr(column, "nullable", False):
            return [Segment(self.table, column)]
        without = Segment(self.table, None, [column.is_(None)])
        valued = Segment(self.table, column, [column.is_not(None)])
        return [valued, without] if descending else [without, valued]

    def _unknown(self, purpose: str, name: str) -> InvalidArgumentError:
        known = ", ".join(sorted(self.columns))
        return InvalidArgumentError(f'cannot {purpose} by "{name}" (known: {known})')


@dataclass(slots=True)
class Page:
    """Part of a list."""

    rows: list[Any] = field(default_factory=list)
    total: int = 0
    next_token: str = ""


def list_rows(
    connection: sa.Connection,
    kind: Listable,
    options: ListOptions,
    columns: Sequence[Column],
    *restrictions: sa.ColumnElement[bool],
) -> Page:
    """One page of rows that meet the restrictions and the filter."""
    wanted = [*restrictions, *conditions(kind, options.filter)]
    few = _few(connection, kind, wanted)
    rows = _read(connection, kind, options, columns, wanted, few)
    total = options.after.total if options.after else _count(connection, kind, wanted, few)
    page = Page(rows[: options.size], total)
    if len(rows) > options.size:
        last = page.rows[-1]
        page.next_token = options.token(total, last._segment, last._sort, last._key)
    return page


def _few(connection: sa.Connection, kind: Listable, wanted: Sequence[Condition]) -> sa.CTE | None:
    """The only rows that can meet the conditions, where an index says that they are few."""
    for index, part in _indexed(kind, wanted):
        if (few := index.few(connection, part, _FEW)) is not None:
            return few
    return None


def _indexed(kind: Listable, wanted: Sequence[Condition]) -> list[tuple[TextParts, str]]:
    parts = (one for one in wanted if isinstance(one, PartOf))
    return [(index, p.part) for p in parts for index in kind.parts if index.column is p.text]


def _count(
    connection: sa.Connection, kind: Listable, wanted: Sequence[Condition], few: sa.CTE | None
) -> int:
    """How many rows there are. Excluded ones are few and taken from the rest, which is many."""
    if few is not None:
        return _counted(connection, kind, wanted, few)
    for number, one in enumerate(wanted):
        if isinstance(one, Exclusion):
            others = [*wanted[:number], *wanted[number + 1 :]]
            without = _count(connection, kind, others, None)
            return without - _count(connection, kind, [*others, one.excluded], None)
    if len(wanted) == 1:
        for index, part in _indexed(kind, wanted):
            if (found := index.count(connection, part)) is not None:
                return found
    return _counted(connection, kind, wanted, None)


def _counted(
    connection: sa.Connection, kind: Listable, wanted: Sequence[Condition], few: sa.CTE | None
) -> int:
    query = sa.select(sa.func.count()).select_from(kind.table).where(*wanted)
    if few is not None:
        query = query.add_cte(few)
    return int(connection.execute(query).scalar_one())


def _read(
    connection: sa.Connection,
    kind: Listable,
    options: ListOptions,
    columns: Sequence[Column],
    wanted: Sequence[Condition],
    few: sa.CTE | None,
) -> list[Any]:
    """The page's rows and one more, if there is one."""
    segments = kind.segments(options.sort_by, options.descending)
    first = options.after.segment if options.after else 0
    rows: list[Any] = []
    for number, segment in enumerate(segments):
        missing = options.size + 1 - len(rows)
        if number < first or not missing:
            continue
        sort = sa.null() if segment.order is None else segment.order
        extra = (sort.label("_sort"), kind.key.label("_key"), sa.literal(number).label("_segment"))
        query = sa.select(*columns, *extra).select_from(segment.source)
        query = query.where(*wanted, *segment.where)
        if few is not None:
            query = query.add_cte(few)
        if options.after is not None and number == first:
            query = query.where(*_beyond(segment.order, kind.key, options.after))
        order = [kind.key] if segment.order is None else [segment.order, kind.key]
        if options.descending:
            order = [column.desc() for column in order]
        rows += connection.execute(query.order_by(*order).limit(missing))
    return rows


def _beyond(order: Column | None, key: Column, after: Token) -> list[sa.ColumnElement[bool]]:
    """Rows after the token's, in a form from which every database sees a range of its index."""
    past_key = key < after.key if after.descending else key > after.key
    if order is None:
        return [past_key]
    value: Any = after.value
    if isinstance(order.type, sa.DateTime):
        try:
            value = dt.datetime.fromisoformat(str(value))
        except ValueError:
            raise InvalidArgumentError("page_token: not a token of this API") from None
    if after.descending:
        return [order <= value, sa.or_(order < value, past_key)]
    return [order >= value, sa.or_(order > value, past_key)]
