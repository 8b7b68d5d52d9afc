"""``when``: the conditions of steps and tasks, in the language of govaluate.

Tags have been replaced before, so what is compared is mostly bare words, and a bare word is a
string: ``heads == heads``. Numbers are compared as numbers and never equal a string. Words joined
by hyphens count as one word, where govaluate would try (and fail) to subtract them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["NotBoolean", "check", "evaluate"]

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<number>0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w])
    | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    | (?P<word>[A-Za-z_\d](?:[\w./]|-(?=\w))*|\[[^\]]*\])
    | (?P<op>\*\*|&&|\|\||==|!=|<=|>=|=~|!~|<<|>>|\?\?|[-+*/%<>!()?:,&|^~])
    )""",
    re.VERBOSE,
)

_BINARY: Final[tuple[frozenset[str], ...]] = (
    frozenset({"??"}),
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">=", "=~", "!~", "in"}),
    frozenset({"&", "|", "^", "<<", ">>"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
    frozenset({"**"}),
)

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
    "**": operator.pow,
    "&": lambda a, b: float(int(a) & int(b)),
    "|": lambda a, b: float(int(a) | int(b)),
    "^": lambda a, b: float(int(a) ^ int(b)),
    "<<": lambda a, b: float(int(a) << int(b)),
    ">>": lambda a, b: float(int(a) >> int(b)),
}

Token = tuple[str, str]
Tree = Callable[[], Any]


class NotBoolean(ExpressionError):
    """A condition has a value that is neither true nor false."""


def evaluate(text: str) -> bool:
    """Decides a condition; raises :class:`ExpressionError`."""
    value = _Parser(text).parse()()
    if not isinstance(value, bool):
        raise NotBoolean(f"Expected boolean evaluation for '{text}'. Got {_text(value)}")
    return value


def check(text: str) -> None:
    """Raises :class:`ExpressionError` where a condition cannot be read."""
    _Parser(text).parse()


class _Parser:
    """Recursive descent over the levels of :data:`_BINARY`, loosest first."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokenize(text)
        self._position = 0

    def parse(self) -> Tree:
        tree = self._ternary()
        if self._position < len(self._tokens):
            raise ExpressionError(f'unexpected "{self._tokens[self._position][1]}"')
        return tree

    def _accept(self, *operators: str) -> str:
        if self._position < len(self._tokens):
            kind, text = self._tokens[self._position]
            if kind == "op" and text in operators:
                self._position += 1
                return text
        return ""

    def _expect(self, operator_: str) -> None:
        if not self._accept(operator_):
            raise ExpressionError(f'a "{operator_}" is missing')

    def _ternary(self) -> Tree:
        condition = self._binary(0)
        if not self._accept("?"):
            return condition
        yes = self._ternary()
        self._expect(":")
        no = self._ternary()
        return lambda: yes() if _boolean("?", condition()) else no()

    def _binary(self, level: int) -> Tree:
        if level == len(_BINARY):
            return self._unary()
        left = self._binary(level + 1)
        while sign := self._accept(*_BINARY[level]):
            left = _combine(sign, left, self._binary(level + 1))
        return left

    def _unary(self) -> Tree:
        if self._accept("!"):
            operand = self._unary()
            return lambda: not _boolean("!", operand())
        if self._accept("-"):
            operand = self._unary()
            return lambda: -_number("-", operand())
        if self._accept("~"):
            operand = self._unary()
            return lambda: float(~int(_number("~", operand())))
        return self._primary()

    def _primary(self) -> Tree:
        if self._accept("("):
            return self._group()
        if self._position >= len(self._tokens):
            raise ExpressionError("ends where a value was expected; quote values that may be empty")
        kind, text = self._tokens[self._position]
        if kind == "op":
            raise ExpressionError(f'unexpected "{text}"; quote the value it belongs to')
        self._position += 1
        value = _value(kind, text)
        return lambda: value

    def _group(self) -> Tree:
        members = [self._ternary()]
        while self._accept(","):
            members.append(self._ternary())
        self._expect(")")
        if len(members) == 1:
            return members[0]
        return lambda: [member() for member in members]


def _tokenize(text: str) -> list[Token]:
    tokens: list[Token] = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            raise ExpressionError(
                f'unexpected "{text[position:].strip()[0]}"; quote the value it belongs to'
            )
        kind = str(found.lastgroup)
        word = found.group(kind)
        tokens.append(("op", word) if word == "in" else (kind, word))
        position = found.end()
    return tokens


def _value(kind: str, text: str) -> Any:
    if kind == "number":
        return float(int(text, 16)) if text[:2] in ("0x", "0X") else float(text)
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if text.startswith("[") else text


def _combine(sign: str, left: Tree, right: Tree) -> Tree:
    match sign:
        case "&&":
            return lambda: _boolean(sign, left()) and _boolean(sign, right())
        case "||":
            return lambda: _boolean(sign, left()) or _boolean(sign, right())
        case "??":
            return lambda: left() if left() not in (None, "") else right()
        case "==":
            return lambda: _equal(left(), right())
        case "!=":
            return lambda: not _equal(left(), right())
        case "=~":
            return lambda: _matches(left(), right())
        case "!~":
            return lambda: not _matches(left(), right())
        case "in":
            return lambda: _contains(left(), right())
        case "<" | "<=" | ">" | ">=":
            return lambda: _compare(sign, left(), right())
        case "+":
            return lambda: _add(left(), right())
    return lambda: _calculate(sign, left(), right())


def _equal(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def _contains(left: Any, right: Any) -> bool:
    members = right if isinstance(right, list) else [right]
    return any(_equal(left, member) for member in members)


def _matches(left: Any, right: Any) -> bool:
    try:
        return re.search(str(right), str(left)) is not None
    except re.error as error:
        raise ExpressionError(f"{right!r} is not a regular expression: {error}") from None


def _compare(sign: str, left: Any, right: Any) -> bool:
    if type(left) is not type(right) or isinstance(left, bool | list):
        raise ExpressionError(
            f"{_shown(left)} and {_shown(right)} cannot be compared with {sign}; "
            "compare two numbers or two strings"
        )
    return _ORDER[sign](left, right)


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) or isinstance(right, str):
        return _text(left) + _text(right)
    return _number("+", left) + _number("+", right)


def _calculate(sign: str, left: Any, right: Any) -> float:
    try:
        return _ARITHMETIC[sign](_number(sign, left), _number(sign, right))
    except (ArithmeticError, ValueError) as error:
        raise ExpressionError(str(error)) from None


def _number(sign: str, value: Any) -> float:
    if not isinstance(value, float):
        raise ExpressionError(f'{_shown(value)} is not a number, which "{sign}" needs')
    return value


def _boolean(sign: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f'{_shown(value)} is not true or false, which "{sign}" needs')
    return value


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else _text(value)
