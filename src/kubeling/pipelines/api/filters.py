"""The filters of lists: a JSON document of predicates, all of which must hold.

Upstream's ``filter.proto`` and ``filter.go``: a predicate has an operation (name or number), a key
and one value in proto-JSON's spelling or the proto's. Its web pages encode the document twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import msgspec
import sqlalchemy as sa

from kubeling.kube.objects import Obj, parse_time
from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.text_search import contains

if TYPE_CHECKING:
    from kubeling.pipelines.api.listing import Listable

__all__ = ["Exclusion", "checked_filter", "conditions"]

_OPERATIONS: Final = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "EQUALS": lambda column, value: column == value,
    "NOT_EQUALS": lambda column, value: column != value,
    "GREATER_THAN": lambda column, value: column > value,
    "GREATER_THAN_EQUALS": lambda column, value: column >= value,
    "LESS_THAN": lambda column, value: column < value,
    "LESS_THAN_EQUALS": lambda column, value: column <= value,
}
_SCALARS: Final = frozenset({"int_value", "long_value", "string_value", "timestamp_value"})
_LISTS: Final = frozenset({"int_values", "long_values", "string_values"})
_ENUMS: Final = frozenset({"state", "status", "storage_state"})
_MAX_WHOLE: Final = 2**63 - 1
_FIELDS: Final = _SCALARS | _LISTS | {"operation", "op", "key"}


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What most rows meet: of a field with few values the ``allowed`` ones, and the others."""

    allowed: sa.ColumnElement[bool]
    excluded: sa.ColumnElement[bool]

    def __clause_element__(self) -> sa.ColumnElement[bool]:
        return self.allowed


def conditions(kind: Listable, text: str) -> list[sa.ColumnElement[bool] | Exclusion]:
    """What the filter demands of a row; raises :class:`InvalidArgumentError`."""
    return [_condition(kind, predicate) for predicate in _predicates(text)]


def checked_filter(text: str) -> Obj:
    """The filter in the proto's spelling, if it is one."""
    found = [{"operation": p.operation, "key": p.key, p.kind: p.value} for p in _predicates(text)]
    return {"predicates": found} if found else {}


@dataclass(frozen=True, slots=True)
class _Predicate:
    operation: str
    key: str
    kind: str
    value: Any


def _predicates(text: str) -> list[_Predicate]:
    if not text:
        return []
    if not text.lstrip().startswith("{"):
        text = unquote_plus(text)
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"filter: not valid JSON: {error}") from None
    if unknown := sorted(document.keys() - {"predicates"}):
        raise InvalidArgumentError(f'filter: unknown field "{unknown[0]}" (known: predicates)')
    predicates = document.get("predicates") or []
    if not isinstance(predicates, list):
        raise InvalidArgumentError("filter: predicates must be a list")
    return [_predicate(predicate) for predicate in predicates]


def _predicate(given: Any) -> _Predicate:
    if not isinstance(given, dict) or not given.get("key"):
        raise InvalidArgumentError("filter: each predicate needs a key")
    fields = {_snake(key): value for key, value in given.items()}
    key = str(fields["key"])
    if unknown := sorted(fields.keys() - _FIELDS):
        raise InvalidArgumentError(f'filter: the predicate on "{key}" has no field "{unknown[0]}"')
    kinds = sorted(fields.keys() & (_SCALARS | _LISTS))
    if len(kinds) != 1:
        raise InvalidArgumentError(f'filter: the predicate on "{key}" needs one value')
    (kind,) = kinds
    operation = _operation(fields.get("operation", fields.get("op")))
    if key.startswith("tags.") and (operation, kind) != ("EQUALS", "string_value"):
        raise InvalidArgumentError("filter: tags can only be compared by EQUALS and string_value")
    if (operation == "IN") != (kind in _LISTS):
        expected = _LISTS if operation == "IN" else _SCALARS
        raise InvalidArgumentError(
            f"filter: cannot use {operation} with {kind}; one of "
            f"{', '.join(sorted(expected))} is expected"
        )
    if operation == "IS_SUBSTRING" and kind != "string_value":
        raise InvalidArgumentError(f"filter: cannot use IS_SUBSTRING with {kind}")
    value = fields[kind]
    if kind in _LISTS and not (isinstance(value, dict) and isinstance(value.get("values"), list)):
        raise InvalidArgumentError(f'filter: {kind} must be {{"values": [...]}}')
    return _Predicate(operation, key, kind, value)


def _condition(kind: Listable, predicate: _Predicate) -> sa.ColumnElement[bool] | Exclusion:
    column, value = kind.filtered(predicate.key), predicate.value
    spelled = kind.spellings.get(predicate.key, {})
    match predicate.operation:
        case "IN":
            items = [_value(column, item) for item in value["values"]]
            return column.in_([spelled.get(item, item) for item in items])
        case "IS_SUBSTRING":
            text = column if isinstance(column.type, sa.String) else sa.cast(column, sa.Text)
            return contains(text, str(value))
        case operation:
            wanted = _value(column, value)
            wanted = spelled.get(wanted, wanted)
    if choices := kind.choices.get(predicate.key):
        same = column == wanted
        others = sa.or_(*(column == choice for choice in choices if choice != wanted))
        if operation == "NOT_EQUALS":
            # A range of the index, where "not equal" would read all of it.
            return Exclusion(others, same)
        if operation == "EQUALS" and wanted == choices[0]:
            return Exclusion(same, others)
    found: sa.ColumnElement[bool] = _COMPARISONS[operation](column, wanted)
    return found


def _operation(given: Any) -> str:
    name = _OPERATIONS.get(given, "") if isinstance(given, int) else str(given)
    if name not in _OPERATIONS.values():
        known = ", ".join(_OPERATIONS.values())
        raise InvalidArgumentError(f'filter: unknown operation "{given}" (known: {known})')
    return name


def _value(column: sa.ColumnElement[Any], value: Any) -> Any:
    if isinstance(column.type, sa.DateTime):
        return _moment(value)
    if isinstance(column.type, sa.Integer):
        return _whole(value)
    if isinstance(column.type, sa.Float):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidArgumentError(f"filter: {value!r:.100} is not a number") from None
    return str(value).upper() if getattr(column, "key", "") in _ENUMS else str(value)


def _whole(value: Any) -> int:
    """A whole number that every database can hold."""
    try:
        found = int(value)
    except (TypeError, ValueError, OverflowError):
        found = _MAX_WHOLE + 1
    if abs(found) > _MAX_WHOLE:
        raise InvalidArgumentError(f"filter: {value!r:.100} is not a 64-bit number")
    return found


def _moment(value: Any) -> dt.datetime:
    """A time as the tables keep it, from RFC 3339 or, as upstream keeps it, seconds of 1970."""
    try:
        seconds = int(value)
    except (TypeError, ValueError):
        seconds = None
    try:
        found = (
            parse_time(str(value))
            if seconds is None
            else dt.datetime.fromtimestamp(seconds, dt.UTC)
        )
    except (ValueError, OverflowError, OSError):
        raise InvalidArgumentError(f"filter: {value!r} is not an RFC 3339 time") from None
    return found.astimezone(dt.UTC).replace(tzinfo=None)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
