"""Lists: filters, sorting and pages, for every kind alike.

Pages are found by key, not by offset: a token holds the last row's sort value and id, so page
10,000 costs as much as the first, and rows that come or go meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import parse_time
from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.wire import query_of

__all__ = ["ListOptions", "Listable", "Page", "list_options", "list_rows"]

DEFAULT_SIZE: Final = 20
MAX_SIZE: Final = 200
_OPERATIONS: Final = {
    "EQUALS": 1,
    "NOT_EQUALS": 2,
    "GREATER_THAN": 3,
    "GREATER_THAN_EQUALS": 5,
    "LESS_THAN": 6,
    "LESS_THAN_EQUALS": 7,
    "IN": 8,
    "IS_SUBSTRING": 9,
}
_COMPARISONS: Final[dict[int, Callable[[Any, Any], Any]]] = {
    1: lambda column, value: column == value,
    2: lambda column, value: column != value,
    3: lambda column, value: column > value,
    5: lambda column, value: column >= value,
    6: lambda column, value: column < value,
    7: lambda column, value: column <= value,
}
_SCALARS: Final = ("int_value", "long_value", "string_value", "timestamp_value")
_LISTS: Final = ("int_values", "long_values", "string_values")


@dataclass(frozen=True, slots=True)
class Listable:
    """What a kind can be filtered and sorted by."""

    table: sa.FromClause
    key: sa.ColumnElement[Any]
    columns: Mapping[str, sa.ColumnElement[Any]]
    created: sa.ColumnElement[Any]
    dynamic: Callable[[str], sa.ColumnElement[Any] | None] = lambda _: None

    def column(self, name: str, purpose: str) -> sa.ColumnElement[Any]:
        """A column by the name clients use."""
        found = self.columns.get(name)
        if found is None:
            found = self.dynamic(name)
        if found is None:
            known = ", ".join(sorted(self.columns))
            raise InvalidArgumentError(f'cannot {purpose} by "{name}" (known: {known})')
        return found


class _Token(msgspec.Struct):
    """Where a page ended, and of which list."""

    sort_by: str
    descending: bool
    value: Any
    key: Any
    filter: str


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a client asks of a list."""

    size: int = DEFAULT_SIZE
    sort_by: str = ""
    descending: bool = False
    filter: str = ""
    after: _Token | None = None


@dataclass(slots=True)
class Page:
    """Part of a list."""

    rows: list[Any] = field(default_factory=list)
    total: int = 0
    next_token: str = ""


def list_options(request: web.Request) -> ListOptions:
    """Reads the query of a list; raises :class:`InvalidArgumentError`."""
    sort_by, descending = _sort(query_of(request, "sort_by"))
    wanted = query_of(request, "filter")
    token = query_of(request, "page_token")
    size = _size(query_of(request, "page_size"))
    if not token:
        return ListOptions(size, sort_by, descending, wanted)
    after = _decode(token)
    given = query_of(request, "sort_by")
    if given and (sort_by, descending) != (after.sort_by, after.descending):
        raise InvalidArgumentError("page_token: sort_by differs from that of the first page")
    if wanted and wanted != after.filter:
        raise InvalidArgumentError("page_token: filter differs from that of the first page")
    return ListOptions(size, after.sort_by, after.descending, after.filter, after)


def list_rows(
    connection: sa.Connection,
    kind: Listable,
    options: ListOptions,
    columns: Sequence[sa.ColumnElement[Any]],
    *conditions: sa.ColumnElement[bool],
) -> Page:
    """One page of rows that meet the conditions and the filter."""
    where = [*conditions, *_conditions(kind, options.filter)]
    total = connection.execute(
        sa.select(sa.func.count()).select_from(kind.table).where(*where)
    ).scalar_one()
    sort = kind.column(options.sort_by, "sort") if options.sort_by else kind.created
    query = sa.select(*columns, sort.label("_sort"), kind.key.label("_key")).select_from(kind.table)
    query = query.where(*where)
    if options.after is not None:
        query = query.where(_beyond(sort, kind.key, options.after))
    order = (sort.desc(), kind.key.desc()) if options.descending else (sort.asc(), kind.key.asc())
    rows = list(connection.execute(query.order_by(*order).limit(options.size + 1)))
    page = Page(rows[: options.size], total)
    if len(rows) > options.size:
        last = page.rows[-1]
        page.next_token = _encode(options, last._sort, last._key)
    return page


def _beyond(sort: Any, key: Any, after: _Token) -> sa.ColumnElement[bool]:
    value = after.value
    if isinstance(sort.type, sa.DateTime) and isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    if value is None:
        rest = sa.and_(sort.is_(None), key < after.key if after.descending else key > after.key)
        return rest if after.descending else sa.or_(rest, sort.is_not(None))
    if after.descending:
        beyond = sa.or_(sort < value, sa.and_(sort == value, key < after.key))
        return sa.or_(beyond, sort.is_(None))
    return sa.or_(sort > value, sa.and_(sort == value, key > after.key))


def _conditions(kind: Listable, text: str) -> list[sa.ColumnElement[bool]]:
    if not text:
        return []
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"filter: not valid JSON: {error}") from None
    predicates = document.get("predicates") or []
    if not isinstance(predicates, list):
        raise InvalidArgumentError("filter: predicates must be a list")
    return [_condition(kind, predicate) for predicate in predicates]


def _condition(kind: Listable, predicate: Any) -> sa.ColumnElement[bool]:
    if not isinstance(predicate, dict) or not predicate.get("key"):
        raise InvalidArgumentError("filter: each predicate needs a key")
    operation = predicate.get("operation") or predicate.get("op")
    code = _OPERATIONS.get(operation, operation) if isinstance(operation, str) else operation
    column = kind.column(str(predicate["key"]), "filter")
    values = {_snake(key): value for key, value in predicate.items()}
    if code == 8:
        chosen = next((values[name] for name in _LISTS if name in values), None)
        if not isinstance(chosen, dict) or not isinstance(chosen.get("values"), list):
            raise InvalidArgumentError(
                'filter: IN needs int_values, long_values or string_values {"values": [...]}'
            )
        return column.in_([_value(column, value) for value in chosen["values"]])
    given = next((values[name] for name in _SCALARS if name in values), None)
    if given is None:
        raise InvalidArgumentError(f'filter: the predicate on "{predicate["key"]}" has no value')
    if code == 9:
        return column.contains(str(given), autoescape=True)
    if code not in _COMPARISONS:
        known = ", ".join(_OPERATIONS)
        raise InvalidArgumentError(f'filter: unknown operation "{operation}" (known: {known})')
    found: sa.ColumnElement[bool] = _COMPARISONS[code](column, _value(column, given))
    return found


def _value(column: sa.ColumnElement[Any], value: Any) -> Any:
    if isinstance(column.type, sa.DateTime):
        try:
            return parse_time(str(value)).replace(tzinfo=None)
        except ValueError:
            raise InvalidArgumentError(f"filter: {value!r} is not an RFC 3339 time") from None
    if isinstance(column.type, sa.Integer | sa.Float):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise InvalidArgumentError(f"filter: {value!r} is not a number") from None
    return str(value)


def _sort(text: str) -> tuple[str, bool]:
    words = text.split()
    if not words:
        return "", False
    if len(words) > 2 or (len(words) == 2 and words[1].lower() not in ("asc", "desc")):
        raise InvalidArgumentError(
            f'sort_by: "field asc" or "field desc" is expected, not {text!r}'
        )
    return words[0], len(words) == 2 and words[1].lower() == "desc"


def _size(text: str) -> int:
    try:
        size = int(text or 0)
    except ValueError:
        raise InvalidArgumentError(f"page_size: a number is expected, not {text!r}") from None
    if size < 0:
        raise InvalidArgumentError("page_size: must not be negative")
    return min(size or DEFAULT_SIZE, MAX_SIZE)


def _encode(options: ListOptions, value: Any, key: Any) -> str:
    shown = value.isoformat() if isinstance(value, dt.datetime) else value
    token = _Token(options.sort_by, options.descending, shown, key, options.filter)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def _decode(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Token)
    except (ValueError, msgspec.DecodeError):
        raise InvalidArgumentError("page_token: not a token of this API") from None


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
