"""Finds the type of every part of an expression, and the overloads each call may mean.

What cannot be right is refused here, when a rule is written rather than when it is first needed.
All problems are found in one go; a part with a problem counts as ``dyn`` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kubeling.apiserver.cel.errors import CompileError
from kubeling.apiserver.cel.library import Library, Overload
from kubeling.apiserver.cel.syntax import (
    Binding,
    Call,
    Comprehension,
    Constant,
    Ident,
    ListOf,
    MapOf,
    Message,
    Node,
    Select,
)
from kubeling.apiserver.cel.types import (
    ANY,
    BOOL,
    INT,
    NULL,
    Bindings,
    ObjectType,
    Type,
    bind,
    joined,
    list_of,
    map_of,
    optional_of,
    substitute,
    type_of,
)
from kubeling.apiserver.cel.values import kind_of

__all__ = ["Checked", "MessageTypes", "Resolved", "check", "qualified_name"]

MessageTypes = Callable[[str], Type | None]
"""The type of message a name stands for, if any."""

Scope = Mapping[str, Type]


class Resolved(NamedTuple):
    """What a call means: one of these overloads, applied to these arguments."""

    overloads: tuple[Overload, ...]
    arguments: tuple[Node, ...]


@dataclass(slots=True)
class Checked:
    """What is known of each node."""

    types: dict[Node, Type] = field(default_factory=dict)
    calls: dict[Node, Resolved] = field(default_factory=dict)
    variables: dict[Node, str] = field(default_factory=dict)
    """Identifiers, plain or qualified, that name a variable."""
    type_names: dict[Node, str] = field(default_factory=dict)
    """Identifiers, plain or qualified, that name a type."""


_TYPE_NAMES: Final = frozenset(
    [
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "optional_type",
        "string",
        "type",
        "uint",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        "net.CIDR",
        "net.IP",
        "kubernetes.Quantity",
        "kubernetes.Semver",
        "kubernetes.URL",
    ]
)
_ARITIES: Final = {"list": 1, "map": 2, "optional_type": 1, "type": 1}
_LOGIC: Final[Mapping[str, int]] = {"_&&_": 2, "_||_": 2, "!_": 1}
_PREDICATES: Final = {
    "all": "_&&_",
    "exists": "_||_",
    "exists_one": "_?_:_",
    "filter": "_?_:_",
}


def check(
    source: str, root: Node, variables: Scope, library: Library, messages: MessageTypes
) -> Checked:
    """Types the tree; raises :class:`CompileError`."""
    checker = _Checker(library, messages)
    checker.visit(root, variables)
    if checker.issues:
        raise CompileError(source, checker.issues)
    return checker.checked


def _named_type(name: str) -> Type:
    """The type of a type's name: ``list`` is that of every list."""
    return type_of(Type(name, (ANY,) * _ARITIES.get(name, 0)))


def qualified_name(node: Node) -> str:
    """``a.b.c`` where that is all a node is."""
    match node:
        case Ident(name=name):
            return name
        case Select(operand=operand, field=field, test=False, optional=False):
            return f"{prefix}.{field}" if (prefix := qualified_name(operand)) else ""
    return ""


class _Checker:
    def __init__(self, library: Library, messages: MessageTypes) -> None:
        self._overloads = library.overloads
        self._messages = messages
        self.checked = Checked()
        self.issues: list[tuple[int, str]] = []

    def visit(self, node: Node, scope: Scope) -> Type:
        """The type of a node, remembered."""
        found = self._type(node, scope)
        self.checked.types[node] = found
        return found

    def _issue(self, at: int, what: str) -> Type:
        self.issues.append((at, what))
        return ANY

    def _type(self, node: Node, scope: Scope) -> Type:
        match node:
            case Constant(value=value):
                return NULL if value is None else Type(kind_of(value))
            case Ident():
                return self._ident(node, scope)
            case Select():
                return self._select(node, scope)
            case Call():
                return self._call(node, scope)
            case ListOf():
                return self._list(node, scope)
            case MapOf():
                return self._map(node, scope)
            case Message():
                return self._message(node, scope)
            case Comprehension():
                return self._comprehension(node, scope)
            case Binding():
                return self._binding(node, scope)
        raise AssertionError(node)

    # Names and fields

    def _ident(self, node: Ident, scope: Scope) -> Type:
        if node.name in scope:
            self.checked.variables[node] = node.name
            return scope[node.name]
        if node.name in _TYPE_NAMES:
            self.checked.type_names[node] = node.name
            return _named_type(node.name)
        return self._issue(node.at, f"undeclared reference to '{node.name}' (in container '')")

    def _select(self, node: Select, scope: Scope) -> Type:
        name = qualified_name(node)
        if name in _TYPE_NAMES and name.partition(".")[0] not in scope:
            self.checked.type_names[node] = name
            return _named_type(name)
        if name in scope:
            self.checked.variables[node] = name
            return scope[name]
        operand = self.visit(node.operand, scope)
        wrapped = operand.name == "optional_type"
        found = self._field(operand.parameters[0] if wrapped else operand, node)
        if node.test:
            return BOOL
        return optional_of(found) if wrapped or node.optional else found

    def _field(self, operand: Type, node: Select) -> Type:
        if isinstance(operand, ObjectType):
            if (known := operand.fields.get(node.field)) is not None:
                return known.type
            return self._issue(node.at, f"undefined field '{node.field}'")
        if operand.name == "map":
            return operand.parameters[1]
        if operand == ANY:
            return ANY
        return self._issue(node.at, f"type '{operand}' does not support field selection")

    # Calls

    def _call(self, node: Call, scope: Scope) -> Type:
        arguments = node.arguments
        if node.member and (name := qualified_name(arguments[0])):
            name, root = f"{name}.{node.function}", name.partition(".")[0]
            if name in self._overloads and root not in scope:
                types = [self.visit(argument, scope) for argument in arguments[1:]]
                return self._resolve(node, name, arguments[1:], types, member=False)
        types = [self.visit(argument, scope) for argument in arguments]
        if node.function in _LOGIC:
            return self._logic(node, types)
        if node.function == "_?_:_":
            return self._conditional(node, types)
        return self._resolve(node, node.function, arguments, types, member=node.member)

    def _logic(self, node: Call, types: list[Type]) -> Type:
        if any(found not in (BOOL, ANY) for found in types):
            return self._no_overload(node.at, node.function, types)
        return BOOL

    def _conditional(self, node: Call, types: list[Type]) -> Type:
        condition, then, otherwise = types
        bindings: Bindings = {}
        branch = Type("A")
        if condition not in (BOOL, ANY) or not (
            bind(branch, then, bindings) and bind(branch, otherwise, bindings)
        ):
            return self._no_overload(node.at, node.function, types)
        return substitute(branch, bindings)

    def _resolve(
        self, node: Call, name: str, arguments: Sequence[Node], types: list[Type], *, member: bool
    ) -> Type:
        overloads = self._overloads.get(name)
        if overloads is None:
            return self._issue(node.at, f"undeclared reference to '{name}' (in container '')")
        fitting, results = [], []
        for overload in overloads:
            if overload.member != member or len(overload.parameters) != len(types):
                continue
            bindings: Bindings = {}
            pairs = zip(overload.parameters, types, strict=True)
            if all(bind(wanted, given, bindings) for wanted, given in pairs):
                fitting.append(overload)
                results.append(substitute(overload.result, bindings))
        if not fitting:
            return self._no_overload(node.at, name, types, member=member)
        self.checked.calls[node] = Resolved(tuple(fitting), tuple(arguments))
        return joined(results)

    def _no_overload(self, at: int, name: str, types: list[Type], *, member: bool = False) -> Type:
        receiver, given = (f"{types[0]}.", types[1:]) if member else ("", types)
        shown = ", ".join(map(str, given))
        return self._issue(
            at, f"found no matching overload for '{name}' applied to '{receiver}({shown})'"
        )

    # Literals

    def _list(self, node: ListOf, scope: Scope) -> Type:
        types = [
            self._item(item, scope, optional=index in node.optional)
            for index, item in enumerate(node.items)
        ]
        return list_of(joined(types) if types else ANY)

    def _item(self, item: Node, scope: Scope, *, optional: bool) -> Type:
        found = self.visit(item, scope)
        if not optional or found == ANY:
            return found
        if found.name != "optional_type":
            return self._issue(item.at, f"expected type 'optional_type' but found '{found}'")
        return found.parameters[0]

    def _map(self, node: MapOf, scope: Scope) -> Type:
        keys = [self.visit(entry.key, scope) for entry in node.entries]
        values = [self._item(entry.value, scope, optional=entry.optional) for entry in node.entries]
        return map_of(joined(keys), joined(values)) if keys else map_of(ANY, ANY)

    def _message(self, node: Message, scope: Scope) -> Type:
        found = self._messages(node.type_name)
        for entry in node.entries:
            value = self._item(entry.value, scope, optional=entry.optional)
            assert isinstance(entry.key, Constant)
            if isinstance(found, ObjectType):
                self._check_entry(found, str(entry.key.value), value, entry.at)
        if found is None:
            what = f"undeclared reference to '{node.type_name}' (in container '')"
            return self._issue(node.at, what)
        return found

    def _check_entry(self, message: ObjectType, name: str, value: Type, at: int) -> None:
        known = message.fields.get(name)
        if known is None:
            self._issue(at, f"undefined field '{name}'")
        elif not bind(known.type, value, {}):
            self._issue(
                at, f"expected type of field '{name}' is '{known.type}' but found '{value}'"
            )

    # Macros

    def _comprehension(self, node: Comprehension, scope: Scope) -> Type:
        over = self.visit(node.over, scope)
        first, second = self._items(node, over)
        two = len(node.variables) == 2
        bound = dict(zip(node.variables, (first, second) if two else (first,), strict=True))
        if not two and over.name == "list":
            bound = {node.variables[0]: second}
        inner = {**scope, **bound}
        if node.where is not None:
            self._predicate(self.visit(node.where, inner), node.where.at, "_?_:_")
        body = self.visit(node.body, inner)
        if node.loop in _PREDICATES:
            self._predicate(body, node.body.at, _PREDICATES[node.loop])
            return list_of(bound[node.variables[0]]) if node.loop == "filter" else BOOL
        return map_of(first, body) if node.loop == "transformMap" else list_of(body)

    def _items(self, node: Comprehension, over: Type) -> tuple[Type, Type]:
        """The types of index and item, or of key and value."""
        if over.name == "list":
            return INT, over.parameters[0]
        if over.name == "map":
            return over.parameters[0], over.parameters[1]
        if over != ANY:
            self._issue(
                node.over.at,
                f"expression of type '{over}' cannot be range of a comprehension "
                "(must be list, map, or dynamic)",
            )
        return ANY, ANY

    def _predicate(self, found: Type, at: int, operator: str) -> None:
        if found not in (BOOL, ANY):
            self._no_overload(at, operator, [BOOL, found])

    def _binding(self, node: Binding, scope: Scope) -> Type:
        operand = self.visit(node.operand, scope)
        if operand != ANY and operand.name != "optional_type":
            name = "optFlatMap" if node.flat else "optMap"
            return self._no_overload(node.at, name, [operand, ANY], member=True)
        inner = ANY if operand == ANY else operand.parameters[0]
        body = self.visit(node.body, {**scope, node.variable: inner})
        return body if node.flat else optional_of(body)
