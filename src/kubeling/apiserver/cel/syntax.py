"""The tree of an expression, as it was written: operators are calls, macros are nodes of their own.

Nodes are compared by identity, so that what is learned about one (its type, its overloads) can be
kept beside the tree. ``at`` is the offset that messages point to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Binding",
    "Call",
    "Comprehension",
    "Constant",
    "Entry",
    "Ident",
    "ListOf",
    "Loop",
    "MapOf",
    "Message",
    "Node",
    "Select",
    "children",
]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Any part of an expression."""

    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Node):
    """A literal, or what stands for one."""

    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Ident(Node):
    """A variable or a type."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select(Node):
    """``operand.field``; ``test`` for ``has(…)``, ``optional`` for ``operand.?field``."""

    operand: Node
    field: str
    test: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """A function or an operator; ``member`` where the first argument stands before the dot."""

    function: str
    arguments: tuple[Node, ...]
    member: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ListOf(Node):
    """``[a, ?b]``; ``optional`` are the indices of items that may be left out."""

    items: tuple[Node, ...]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Node):
    """``key: value`` of a map; ``optional`` for ``?key: value``."""

    key: Node
    value: Node
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MapOf(Node):
    """``{key: value}``."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Message(Node):
    """``Object.spec{field: value}``."""

    type_name: str
    entries: tuple[Entry, ...]
    """The keys are constants: the names of the fields."""


Loop = Literal["all", "exists", "exists_one", "map", "filter", "transformList", "transformMap"]


@dataclass(frozen=True, slots=True, eq=False)
class Comprehension(Node):
    """A macro over a list or a map.

    With one variable it goes over items or keys; with two, over indices and items or keys and
    values. ``where`` leaves items out; ``body`` is the predicate, or what an item becomes.
    """

    loop: Loop
    over: Node
    variables: tuple[str, ...]
    body: Node
    where: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Binding(Node):
    """``operand.optMap(x, body)``; ``flat`` for ``optFlatMap``."""

    operand: Node
    variable: str
    body: Node
    flat: bool


def children(node: Node) -> Iterator[Node]:
    """The parts of a node, in the order they are written."""
    match node:
        case Select(operand=operand):
            yield operand
        case Call(arguments=parts) | ListOf(items=parts):
            yield from parts
        case MapOf(entries=entries) | Message(entries=entries):
            for entry in entries:
                yield entry.key
                yield entry.value
        case Comprehension(over=over, where=where, body=body):
            yield over
            if where is not None:
                yield where
            yield body
        case Binding(operand=operand, body=body):
            yield operand
            yield body
