"""Turns a checked tree into Python closures, one per node.

A closure takes the frame (a list: the meter, then the variables, then what macros bind) and gives
the value. Names, fields and overloads are settled beforehand; where the types leave only one
overload, its function is called directly.

Work is metered where it can grow with the input: each turn of a loop costs what its body has
nodes, and functions over text and lists cost by their length. So an expression ends soon whoever
wrote it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from kubeling.apiserver.cel import loops
from kubeling.apiserver.cel.checker import Checked, Resolved
from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.frames import Closure, Frame
from kubeling.apiserver.cel.functions.conversions import TypeValue
from kubeling.apiserver.cel.library import Overload
from kubeling.apiserver.cel.syntax import (
    Binding,
    Call,
    Comprehension,
    Constant,
    Entry,
    ListOf,
    MapOf,
    Message,
    Node,
    Select,
    children,
)
from kubeling.apiserver.cel.types import ANY, BOOL, ObjectType, Type
from kubeling.apiserver.cel.values import NONE, Optional

__all__ = ["Compiler"]

_SCALARS: Final = frozenset({"bool", "bytes", "int", "string", "uint"})
_DIRECT: Final[dict[str, Callable[[Any, Any], Any]]] = {"_==_": operator.eq, "_!=_": operator.ne}
_ABSENT: Final = object()


class Compiler:
    """Compiles one expression; ``slots`` tell where the frame holds each variable."""

    def __init__(self, checked: Checked, slots: dict[str, int]) -> None:
        self._checked = checked
        self._slots = slots
        self.frame_size = len(slots) + 1

    def compile(self, node: Node) -> Closure:
        """The closure of a node and all below it."""
        if (name := self._checked.type_names.get(node)) is not None:
            value = TypeValue(name)
            return lambda frame: value
        if (name := self._checked.variables.get(node)) is not None:
            slot = self._slots[name]
            return lambda frame: frame[slot]
        match node:
            case Constant(value=constant):
                return lambda frame: constant
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListOf():
                return self._list(node)
            case MapOf(entries=entries) | Message(entries=entries):
                return self._map(entries)
            case Comprehension():
                return self._comprehension(node)
            case Binding():
                return self._binding(node)
        raise AssertionError(node)

    def _type(self, node: Node) -> Type:
        return self._checked.types[node]

    def _condition(self, node: Node) -> Closure:
        """The closure of a node that must be true or false."""
        inner = self.compile(node)
        if self._type(node) == BOOL:
            return inner

        def checked(frame: Frame) -> Any:
            value = inner(frame)
            if value is True or value is False:
                return value
            raise EvalError("no such overload")

        return checked

    # Fields

    def _select(self, node: Select) -> Closure:
        operand, name = self.compile(node.operand), self._field_name(node)
        if node.test:
            return _test(operand, name)
        if node.optional or self._type(node.operand).name == "optional_type":
            return _optional_field(operand, name)

        def select(frame: Frame) -> Any:
            value = operand(frame)
            try:
                return value[name]
            except KeyError:
                raise EvalError(f"no such key: {name}") from None
            except TypeError:
                raise EvalError("no such overload") from None

        return select

    def _field_name(self, node: Select) -> str:
        found = self._type(node.operand)
        if found.name == "optional_type":
            found = found.parameters[0]
        return found.fields[node.field].name if isinstance(found, ObjectType) else node.field

    # Calls

    def _call(self, node: Call) -> Closure:
        match node.function, node.arguments:
            case "_&&_", (left, right):
                return _both(self._condition(left), self._condition(right))
            case "_||_", (left, right):
                return _either(self._condition(left), self._condition(right))
            case "!_", (operand,):
                inner = self._condition(operand)
                return lambda frame: not inner(frame)
            case "_?_:_", (condition, then, otherwise):
                return _conditional(
                    self._condition(condition), self.compile(then), self.compile(otherwise)
                )
        resolved = self._checked.calls[node]
        arguments = [self.compile(argument) for argument in resolved.arguments]
        if not self._settled(resolved):
            return _dispatched(resolved.overloads, arguments)
        overload = resolved.overloads[0]
        types = {self._type(argument).name for argument in resolved.arguments}
        if overload.name in _DIRECT and types <= _SCALARS:
            return _applied(_DIRECT[overload.name], arguments)
        if overload.linear:
            return _metered(overload.implementation, arguments)
        return _applied(overload.implementation, arguments)

    def _settled(self, resolved: Resolved) -> bool:
        """Whether the types alone tell that the one overload fits."""
        if len(resolved.overloads) > 1:
            return False
        pairs = zip(resolved.overloads[0].parameters, resolved.arguments, strict=True)
        return all(
            self._type(argument) != ANY or wanted == ANY or wanted.is_parameter
            for wanted, argument in pairs
        )

    # Literals

    def _list(self, node: ListOf) -> Closure:
        items = [self.compile(item) for item in node.items]
        if not node.optional:
            return lambda frame: [item(frame) for item in items]
        marked = [(item, index in node.optional) for index, item in enumerate(items)]

        def build(frame: Frame) -> list[Any]:
            made = []
            for item, optional in marked:
                value = item(frame)
                if not optional:
                    made.append(value)
                elif value.present:
                    made.append(value.value)
            return made

        return build

    def _map(self, entries: tuple[Entry, ...]) -> Closure:
        parts = [
            (self.compile(entry.key), self.compile(entry.value), entry.optional)
            for entry in entries
        ]

        def build(frame: Frame) -> dict[Any, Any]:
            made: dict[Any, Any] = {}
            for key, value, optional in parts:
                name, found = key(frame), value(frame)
                if isinstance(name, list | dict):
                    raise EvalError("unsupported key type")
                if name in made:
                    raise EvalError(f"Failed with repeated key: {name}")
                if not optional:
                    made[name] = found
                elif found.present:
                    made[name] = found.value
            return made

        return build

    # Macros

    def _bound(self, *names: str) -> tuple[dict[str, int], list[int]]:
        """Slots for variables, and all slots while they are in scope."""
        slots = list(range(self.frame_size, self.frame_size + len(names)))
        self.frame_size += len(names)
        return {**self._slots, **dict(zip(names, slots, strict=True))}, slots

    def _comprehension(self, node: Comprehension) -> Closure:
        over = self.compile(node.over)
        outer = self._slots
        self._slots, slots = self._bound(*node.variables)
        where = None if node.where is None else self._condition(node.where)
        predicate = node.loop in ("all", "exists", "exists_one", "filter")
        body = self._condition(node.body) if predicate else self.compile(node.body)
        self._slots = outer
        cost = _size(node.body) + (0 if node.where is None else _size(node.where))
        return loops.compile_loop(node.loop, over, slots, where, body, cost)

    def _binding(self, node: Binding) -> Closure:
        operand = self.compile(node.operand)
        outer = self._slots
        self._slots, (slot,) = self._bound(node.variable)
        body = self.compile(node.body)
        self._slots = outer

        def apply(frame: Frame) -> Any:
            value = operand(frame)
            if not isinstance(value, Optional):
                raise EvalError("no such overload")
            if not value.present:
                return NONE
            frame[slot] = value.value
            made = body(frame)
            return made if node.flat else Optional(made)

        return apply


def _size(node: Node) -> int:
    return 1 + sum(map(_size, children(node)))


# Fields


def _test(operand: Closure, name: str) -> Closure:
    def test(frame: Frame) -> bool:
        value = operand(frame)
        if isinstance(value, Optional):
            value = value.value if value.present else {}
        if isinstance(value, dict):
            return name in value
        raise EvalError("no such overload")

    return test


def _optional_field(operand: Closure, name: str) -> Closure:
    def select(frame: Frame) -> Optional:
        value = operand(frame)
        if isinstance(value, Optional):
            if not value.present:
                return NONE
            value = value.value
        if not isinstance(value, dict):
            raise EvalError("no such overload")
        found = value.get(name, _ABSENT)
        return NONE if found is _ABSENT else Optional(found)

    return select


# Logic: an error on one side does not matter where the other decides.


def _both(left: Closure, right: Closure) -> Closure:
    def both(frame: Frame) -> bool:
        try:
            if not left(frame):
                return False
        except EvalError:
            if right(frame):
                raise
            return False
        return bool(right(frame))

    return both


def _either(left: Closure, right: Closure) -> Closure:
    def either(frame: Frame) -> bool:
        try:
            if left(frame):
                return True
        except EvalError:
            if not right(frame):
                raise
            return True
        return bool(right(frame))

    return either


def _conditional(condition: Closure, then: Closure, otherwise: Closure) -> Closure:
    return lambda frame: then(frame) if condition(frame) else otherwise(frame)


# Functions


def _applied(function: Callable[..., Any], arguments: list[Closure]) -> Closure:
    match arguments:
        case [only]:
            return lambda frame: function(only(frame))
        case [first, second]:
            return lambda frame: function(first(frame), second(frame))
    return lambda frame: function(*[argument(frame) for argument in arguments])


def _metered(function: Callable[..., Any], arguments: list[Closure]) -> Closure:
    def apply(frame: Frame) -> Any:
        values = [argument(frame) for argument in arguments]
        frame[0].spend_on(values)
        return function(*values)

    return apply


def _dispatched(overloads: tuple[Overload, ...], arguments: list[Closure]) -> Closure:
    """Chooses by the values. Their Python types decide, so the choice is remembered."""
    chosen: dict[tuple[type, ...], Overload] = {}

    def apply(frame: Frame) -> Any:
        values = [argument(frame) for argument in arguments]
        types = tuple(map(type, values))
        overload = chosen.get(types)
        if overload is None:
            overload = next((each for each in overloads if each.takes(values)), None)
            if overload is None:
                raise EvalError("no such overload")
            chosen[types] = overload
        if overload.linear:
            frame[0].spend_on(values)
        return overload.implementation(*values)

    return apply
