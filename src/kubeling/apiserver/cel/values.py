"""What an expression works on: Python's own values, and a few that Python does not have.

=================  ==============================================
CEL                here
=================  ==============================================
int                ``int`` within 64 bits
uint               :class:`Uint`
double             ``float``
string, bytes      ``str``, ``bytes``
timestamp          ``datetime`` with a time zone (to microseconds)
duration           ``timedelta`` (to microseconds)
list, map, object  ``list``, ``dict``, ``dict``
optional           :class:`Optional`
=================  ==============================================

Python thinks that ``1 == True``, CEL does not; lists that are sets in the schema are equal in
any order. So equality and membership go through :func:`equal` and :func:`contains`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Iterable
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError

__all__ = [
    "MAX_INT",
    "MAX_UINT",
    "MIN_INT",
    "NONE",
    "KeyedList",
    "Optional",
    "SetList",
    "Uint",
    "contains",
    "equal",
    "kind_of",
]

MAX_INT: Final = 2**63 - 1
MIN_INT: Final = -(2**63)
MAX_UINT: Final = 2**64 - 1


class Uint(int):
    """An unsigned integer."""


class Optional:
    """A value that may be absent."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any, *, present: bool = True) -> None:
        self.value = value
        self.present = present

    def get(self) -> Any:
        """The value; raises where there is none."""
        if not self.present:
            raise EvalError("optional.none() dereference")
        return self.value


NONE: Final = Optional(None, present=False)


class SetList(list[Any]):
    """A list of type ``set``: order does not count, and adding is union."""

    def merged(self, other: Iterable[Any]) -> SetList:
        """The union, in the order of the first."""
        made = SetList(self)
        made.extend(item for item in other if not contains(made, item))
        return made


class KeyedList(list[Any]):
    """A list of type ``map``: ``keys`` tell items apart, order does not count."""

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def by_key(self) -> dict[Hashable, Any]:
        """The items by what identifies them."""
        return {self.key(item): item for item in self}

    def key(self, item: Any) -> Hashable:
        """What identifies an item."""
        return tuple(_hashable(item.get(key)) for key in self.keys)

    def merged(self, other: Iterable[Any]) -> KeyedList:
        """Items of ``other`` in the place of those with their keys, and the new ones after."""
        made = self.by_key()
        for item in other:
            made[self.key(item)] = item
        return KeyedList(made.values(), self.keys)


def _hashable(value: Any) -> Hashable:
    return value if isinstance(value, Hashable) else repr(value)


_NUMBERS: Final = (int, float)


def equal(left: Any, right: Any) -> bool:
    """CEL's ``==`` between any two values; of different kinds they are simply not equal."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, _NUMBERS):
        return isinstance(right, _NUMBERS) and left == right
    if isinstance(left, list):
        return isinstance(right, list) and _equal_lists(left, right)
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and len(left) == len(right)
            and all(key in right and equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, Optional):
        return (
            isinstance(right, Optional)
            and left.present == right.present
            and equal(left.value, right.value)
        )
    return bool(left == right)


def _equal_lists(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    if isinstance(left, SetList):
        return all(contains(right, item) for item in left)
    if isinstance(left, KeyedList):
        mine, others = left.by_key(), KeyedList(right, left.keys).by_key()
        return mine.keys() == others.keys() and all(equal(mine[key], others[key]) for key in mine)
    return all(map(equal, left, right))


def contains(container: Any, value: Any) -> bool:
    """CEL's ``in``: an item of a list, or a key of a map."""
    if isinstance(container, dict):
        return _is_key(value) and value in container
    if isinstance(value, str):
        return value in container
    return any(equal(value, item) for item in container)


def _is_key(value: Any) -> bool:
    return isinstance(value, str | int | float)


_KINDS: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    SetList: "list",
    KeyedList: "list",
    dict: "map",
    dt.datetime: "google.protobuf.Timestamp",
    dt.timedelta: "google.protobuf.Duration",
    Optional: "optional_type",
}


def kind_of(value: Any) -> str:
    """The name of a value's type, as CEL writes it."""
    found = _KINDS.get(type(value))
    if found is not None:
        return found
    for known, name in _KINDS.items():
        if known is not int and isinstance(value, known):
            return name
    return str(getattr(type(value), "cel_name", type(value).__name__))
