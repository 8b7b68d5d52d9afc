"""Reads an expression into a tree, by recursive descent over CEL's grammar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kubeling.apiserver.cel.errors import CompileError
from kubeling.apiserver.cel.lexer import RESERVED, Token, tokenize
from kubeling.apiserver.cel.macros import MacroError, expand, expand_has
from kubeling.apiserver.cel.syntax import (
    Call,
    Constant,
    Entry,
    Ident,
    ListOf,
    MapOf,
    Message,
    Node,
    Select,
    children,
)
from kubeling.apiserver.cel.values import MAX_INT

__all__ = ["parse"]

_MAX_NESTING: Final = 40
_MAX_DEPTH: Final = 150
_MAX_SIZE: Final = 100_000

_RELATIONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})
_SUMS: Final = frozenset({"+", "-"})
_PRODUCTS: Final = frozenset({"*", "/", "%"})


def parse(source: str) -> Node:
    """The tree of an expression; raises :class:`CompileError`."""
    if len(source) > _MAX_SIZE:
        what = f"expression code point size exceeds limit: size: {len(source)}, limit {_MAX_SIZE}"
        raise CompileError(source[:80], [(0, what)])
    parser = _Parser(source)
    node = parser.expression()
    parser.expect("end")
    if not _is_shallow(node):
        raise CompileError(source, [(node.at, f"expression nests deeper than {_MAX_DEPTH}")])
    return node


def _is_shallow(node: Node) -> bool:
    level = [node]
    for _ in range(_MAX_DEPTH):
        level = [child for parent in level for child in children(parent)]
        if not level:
            return True
    return False


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokenize(source)
        self._index = 0
        self._nesting = 0

    # Tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._tokens[self._index]
        self._index += 1
        return token

    def _skip(self, kind: str) -> bool:
        if self._next.kind == kind:
            self._index += 1
            return True
        return False

    def expect(self, kind: str) -> Token:
        """The next token, which must be of this kind."""
        if self._next.kind != kind:
            raise self._unexpected(self._next, f" expecting '{_shown(kind)}'")
        return self._take()

    def _unexpected(self, token: Token, expecting: str = "") -> CompileError:
        text = "<EOF>" if token.kind == "end" else self._text(token)
        return self._error(token.at, f"Syntax error: mismatched input '{text}'{expecting}")

    def _text(self, token: Token) -> str:
        following = self._tokens[self._tokens.index(token) + 1].at
        return self._source[token.at : following].strip()

    def _error(self, at: int, what: str) -> CompileError:
        return CompileError(self._source, [(at, what)])

    # Operators, the loosest first

    def expression(self) -> Node:
        """A conditional, or anything that binds tighter."""
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise self._error(self._next.at, f"expression nests deeper than {_MAX_NESTING}")
        node = self._either()
        if self._next.kind == "?":
            at = self._take().at
            then = self._either()
            self.expect(":")
            node = Call(at, "_?_:_", (node, then, self.expression()))
        self._nesting -= 1
        return node

    def _either(self) -> Node:
        return self._logical("||", self._both)

    def _both(self) -> Node:
        return self._logical("&&", self._relation)

    def _logical(self, operator: str, operand: Callable[[], Node]) -> Node:
        operands, places = [operand()], []
        while self._next.kind == operator:
            places.append(self._take().at)
            operands.append(operand())
        return _balanced(f"_{operator}_", operands, places)

    def _relation(self) -> Node:
        return self._chain(_RELATIONS, self._sum)

    def _sum(self) -> Node:
        return self._chain(_SUMS, self._product)

    def _product(self) -> Node:
        return self._chain(_PRODUCTS, self._unary)

    def _chain(self, operators: frozenset[str], operand: Callable[[], Node]) -> Node:
        node = operand()
        while self._next.kind in operators:
            token = self._take()
            name = "@in" if token.kind == "in" else f"_{token.kind}_"
            node = Call(token.at, name, (node, operand()))
        return node

    def _unary(self) -> Node:
        first, count = self._next, 0
        while self._next.kind == first.kind and first.kind in ("!", "-"):
            self._take()
            count += 1
        if not count:
            return self._in_range(self._member())
        operand = self._member()
        if first.kind == "!":
            return Call(first.at, "!_", (operand,)) if count % 2 else operand
        if count == 1 and isinstance(operand, Constant) and type(operand.value) in (int, float):
            return Constant(first.at, -operand.value)
        operand = self._in_range(operand)
        return Call(first.at, "-_", (operand,)) if count % 2 else operand

    def _in_range(self, node: Node) -> Node:
        if isinstance(node, Constant) and type(node.value) is int and node.value > MAX_INT:
            raise self._error(node.at, "Syntax error: invalid int literal")
        return node

    # Members

    def _member(self) -> Node:
        node = self._primary()
        while True:
            token = self._next
            if token.kind == ".":
                node = self._field(node)
            elif token.kind == "[":
                self._take()
                name = "_[?_]" if self._skip("?") else "_[_]"
                node = Call(token.at, name, (node, self.expression()))
                self.expect("]")
            elif token.kind == "{" and (name := _qualified(node)):
                self._take()
                node = Message(node.at, name, tuple(self._entries(named=True)))
            else:
                return node

    def _field(self, operand: Node) -> Node:
        at = self.expect(".").at
        if self._skip("?"):
            return Select(at, operand, self._name(), optional=True)
        quoted = self._next.kind == "quoted"
        name = self._name()
        if quoted or self._next.kind != "(":
            return Select(at, operand, name)
        opening = self._take().at
        arguments = self._list(")")
        try:
            macro = expand(opening, operand, name, arguments)
        except MacroError as error:
            raise self._error(error.at, str(error)) from None
        return macro or Call(opening, name, (operand, *arguments), member=True)

    def _name(self) -> str:
        if self._next.kind == "quoted":
            return str(self._take().value)
        return str(self.expect("ident").value)

    def _primary(self) -> Node:
        token = self._take()
        match token.kind:
            case "literal":
                return Constant(token.at, token.value)
            case "(":
                node = self.expression()
                self.expect(")")
                return node
            case "[":
                return self._list_literal(token.at)
            case "{":
                return MapOf(token.at, tuple(self._entries(named=False)))
            case "ident":
                return self._ident(token)
            case "." if self._next.kind == "ident":
                return self._ident(self._take())
        raise self._unexpected(token)

    def _ident(self, token: Token) -> Node:
        if token.value in RESERVED:
            raise self._error(token.at, f"reserved identifier: {token.value}")
        if self._next.kind != "(":
            return Ident(token.at, token.value)
        opening = self._take().at
        arguments = self._list(")")
        if token.value == "has":
            try:
                return expand_has(opening, arguments)
            except MacroError as error:
                raise self._error(error.at, str(error)) from None
        return Call(opening, token.value, tuple(arguments))

    # Lists and maps

    def _list(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while self._next.kind != closing:
            items.append(self.expression())
            if not self._skip(","):
                break
        self.expect(closing)
        return items

    def _list_literal(self, at: int) -> Node:
        items: list[Node] = []
        optional = set()
        while self._next.kind != "]":
            if self._skip("?"):
                optional.add(len(items))
            items.append(self.expression())
            if not self._skip(","):
                break
        self.expect("]")
        return ListOf(at, tuple(items), frozenset(optional))

    def _entries(self, *, named: bool) -> list[Entry]:
        entries: list[Entry] = []
        while self._next.kind != "}":
            optional = self._skip("?")
            at = self._next.at
            key = Constant(at, self._name()) if named else self.expression()
            at = self.expect(":").at
            entries.append(Entry(at, key, self.expression(), optional))
            if not self._skip(","):
                break
        self.expect("}")
        return entries


def _balanced(function: str, operands: list[Node], places: list[int]) -> Node:
    """A long chain as a tree of little depth; the order of evaluation stays."""
    if len(operands) == 1:
        return operands[0]
    middle = len(operands) // 2
    left = _balanced(function, operands[:middle], places[: middle - 1])
    right = _balanced(function, operands[middle:], places[middle:])
    return Call(places[middle - 1], function, (left, right))


def _qualified(node: Node) -> str:
    """``a.b.c``, where a node can be read as the name of a type."""
    match node:
        case Ident(name=name):
            return name
        case Select(operand=operand, field=field, test=False, optional=False):
            return f"{prefix}.{field}" if (prefix := _qualified(operand)) else ""
    return ""


def _shown(kind: str) -> str:
    return {"end": "<EOF>", "ident": "IDENTIFIER"}.get(kind, kind)
