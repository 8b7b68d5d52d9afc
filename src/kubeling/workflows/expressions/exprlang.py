"""``{{=…}}``: the part of the expr language that workflows use.

Read by precedence climbing into closures, then called with an environment of nested values. Unknown
names at the top are errors; members that are absent are nil, because the outputs of skipped nodes
are, and ``??`` must be able to handle that. No Python library of this language exists; CEL's differ
in nearly every operator and built-in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from kubeling.workflows.expressions import exprlang_functions as functions
from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["Program", "compile_expression", "evaluate", "text_of"]

Environment = Mapping[str, Any]
Tree = Callable[[Environment], Any]

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<float>\d[\d_]*\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)
    | (?P<int>0[xX][0-9a-fA-F]+|\d[\d_]*)
    | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`)
    | (?P<name>[A-Za-z_$][\w$]*)
    | (?P<op>\?\.|\?\?|\.\.|\*\*|&&|\|\||==|!=|<=|>=|[-+*/%^<>!()\[\]{}?:,.|\#])
    )""",
    re.VERBOSE,
)

_PRECEDENCE: Final = {
    "|": 1, "||": 10, "or": 10, "&&": 15, "and": 15, "==": 20, "!=": 20, "<": 20, ">": 20,
    "<=": 20, ">=": 20, "in": 20, "not": 20, "matches": 20, "contains": 20, "startsWith": 20,
    "endsWith": 20, "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60, "**": 100, "^": 100,
    "??": 500,
}  # fmt: skip

_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_ELEMENT: Final = "#"


class Program:
    """An expression that can be computed again and again; ``names`` are the variables it reads."""

    def __init__(self, tree: Tree, names: frozenset[str]) -> None:
        self._tree = tree
        self.names = names

    def __call__(self, environment: Environment) -> Any:
        """Computes the expression; raises :class:`ExpressionError`."""
        try:
            return self._tree(environment)
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(str(error)) from None


@lru_cache(maxsize=1024)
def compile_expression(text: str) -> Program:
    """Reads an expression; raises :class:`ExpressionError`."""
    parser = _Parser(text)
    return Program(parser.parse(), frozenset(parser.names))


def evaluate(text: str, environment: Environment) -> Any:
    """Computes an expression; raises :class:`ExpressionError`."""
    return compile_expression(text)(environment)


def text_of(value: Any) -> str:
    """A result as it is put into a template: strings bare, everything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ExpressionError('gives nil; say what to use instead with "?? value"')
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return msgspec.json.encode(value).decode()


class _Parser:
    """Reads one expression; ``names`` collects the variables it mentions."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokenize(text)
        self._position = 0
        self.names: set[str] = set()

    def parse(self) -> Tree:
        tree = self._expression(0)
        if self._kind() != "end":
            raise ExpressionError(f'unexpected "{self._text()}"')
        return tree

    def _kind(self) -> str:
        return self._tokens[self._position][0]

    def _text(self) -> str:
        return self._tokens[self._position][1]

    def _is(self, *texts: str) -> bool:
        kind, text = self._tokens[self._position]
        return kind in ("op", "name") and text in texts

    def _accept(self, *texts: str) -> bool:
        if self._is(*texts):
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise ExpressionError(f'a "{text}" is missing before "{self._text() or "the end"}"')

    def _expression(self, floor: int) -> Tree:
        left = self._prefix()
        while (strength := self._strength()) > floor:
            sign = self._text()
            self._position += 1
            if sign == "|":
                left = self._piped(left)
                continue
            if negated := sign == "not":
                sign = self._text()
                self._position += 1
            right_associative = sign in ("**", "^")
            right = self._expression(strength - 1 if right_associative else strength)
            left = functions.binary(sign, left, right)
            if negated:
                left = functions.negate(left)
        return self._conditional(left) if floor == 0 else left

    def _strength(self) -> int:
        kind, text = self._tokens[self._position]
        if kind not in ("op", "name"):
            return -1
        if text == "not" and self._tokens[self._position + 1][1] not in _PRECEDENCE:
            return -1
        return _PRECEDENCE.get(text, -1)

    def _conditional(self, condition: Tree) -> Tree:
        if not self._accept("?"):
            return condition
        if self._accept(":"):
            otherwise = self._expression(0)
            return lambda env: condition(env) or otherwise(env)
        yes = self._expression(0)
        self._expect(":")
        no = self._expression(0)
        return lambda env: yes(env) if functions.truth(condition(env)) else no(env)

    def _prefix(self) -> Tree:
        if self._accept("!", "not"):
            return functions.negate(self._expression(50))
        if self._accept("-"):
            operand = self._expression(90)
            return lambda env: -functions.number(operand(env))
        if self._accept("+"):
            return self._expression(90)
        return self._suffixes(self._primary())

    def _primary(self) -> Tree:
        kind, text = self._tokens[self._position]
        self._position += 1
        match kind:
            case "int":
                return _constant(int(text.replace("_", ""), 0))
            case "float":
                return _constant(float(text.replace("_", "")))
            case "string":
                return _constant(_unquote(text))
            case "name":
                return self._name(text)
            case "end":
                raise ExpressionError("ends where a value was expected")
        match text:
            case "(":
                inner = self._expression(0)
                self._expect(")")
                return inner
            case "[":
                return self._list()
            case "{":
                return self._map()
            case "#":
                return lambda env: env[_ELEMENT]
            case ".":
                self._position -= 1
                return lambda env: env[_ELEMENT]
        raise ExpressionError(f'unexpected "{text}"')

    def _name(self, name: str) -> Tree:
        if name in ("true", "false"):
            return _constant(name == "true")
        if name == "nil":
            return _constant(None)
        if self._is("("):
            return self._call(name, [])
        if name == "sprig" and self._is("."):
            return self._sprig()
        self.names.add(name)
        return lambda env: _variable(env, name)

    def _sprig(self) -> Tree:
        self._expect(".")
        name = f"sprig.{self._text()}"
        self._position += 1
        return self._call(name, [])

    def _piped(self, left: Tree) -> Tree:
        name = self._text()
        self._position += 1
        if name == "sprig" and self._accept("."):
            name = f"sprig.{self._text()}"
            self._position += 1
        return self._suffixes(self._call(name, [left]))

    def _call(self, name: str, arguments: list[Tree]) -> Tree:
        self._expect("(")
        while not self._is(")"):
            arguments.append(self._argument(name))
            if not self._accept(","):
                break
        self._expect(")")
        return functions.call(name, arguments)

    def _argument(self, name: str) -> Tree:
        if name not in functions.WITH_PREDICATE:
            return self._expression(0)
        braced = self._accept("{")
        body = self._expression(0)
        if braced:
            self._expect("}")
        return body

    def _list(self) -> Tree:
        members: list[Tree] = []
        while not self._is("]"):
            members.append(self._expression(0))
            if not self._accept(","):
                break
        self._expect("]")
        return lambda env: [member(env) for member in members]

    def _map(self) -> Tree:
        members: list[tuple[Tree, Tree]] = []
        while not self._is("}"):
            key = self._map_key()
            self._expect(":")
            members.append((key, self._expression(0)))
            if not self._accept(","):
                break
        self._expect("}")
        return lambda env: {str(key(env)): value(env) for key, value in members}

    def _map_key(self) -> Tree:
        if self._accept("("):
            key = self._expression(0)
            self._expect(")")
            return key
        kind, text = self._tokens[self._position]
        self._position += 1
        if kind not in ("name", "string", "int"):
            raise ExpressionError(f'"{text}" cannot be a key')
        return _constant(_unquote(text) if kind == "string" else text)

    def _suffixes(self, value: Tree) -> Tree:
        while True:
            if self._accept(".", "?."):
                value = self._member(value)
            elif self._accept("["):
                value = self._index(value)
            else:
                return value

    def _member(self, value: Tree) -> Tree:
        kind, name = self._tokens[self._position]
        if kind != "name":
            raise ExpressionError(f'"{name}" cannot follow a dot; write ["{name}"]')
        self._position += 1
        return lambda env: functions.member(value(env), name)

    def _index(self, value: Tree) -> Tree:
        start: Tree | None = None if self._is(":") else self._expression(0)
        if not self._accept(":"):
            self._expect("]")
            if start is None:
                raise ExpressionError("an index is missing")
            index = start
            return lambda env: functions.member(value(env), index(env))
        stop: Tree | None = None if self._is("]") else self._expression(0)
        self._expect("]")
        return lambda env: value(env)[start and start(env) : stop and stop(env)]


def _tokenize(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            raise ExpressionError(f'unexpected "{text[position:].strip()[0]}"')
        kind = str(found.lastgroup)
        tokens.append((kind, found.group(kind)))
        position = found.end()
    tokens.append(("end", ""))
    return tokens


def _constant(value: Any) -> Tree:
    return lambda _: value


def _variable(environment: Environment, name: str) -> Any:
    try:
        return environment[name]
    except KeyError:
        raise ExpressionError(f'unknown name "{name}"') from None


def _unquote(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), text[1:-1])
