"""The part of the Common Expression Language (CEL) that compiled pipelines use.

The compiler writes conditions over ``inputs.parameter_values`` and selectors such as
``parseJson(string_value)["a"]``. This covers CEL's operators, literals, lists, maps, member access
and the functions that make sense for parameters; no macros. The library implementations of CEL
bring protobuf or a parser generator, more than this module is long.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from kubeling.pipelines.values import normalize, to_text

__all__ = ["ExpressionError", "evaluate", "evaluate_condition"]

Scope = Mapping[str, Any]
Node = Callable[[Scope], Any]


class ExpressionError(ValueError):
    """An expression cannot be read or evaluated."""


def evaluate(source: str, variables: Scope) -> Any:
    """The value of an expression; raises :class:`ExpressionError`."""
    try:
        return _compile(source)(variables)
    except ExpressionError as error:
        raise ExpressionError(f"{source}: {error}") from None
    except RecursionError:
        raise ExpressionError("the expression is nested too deeply") from None


def evaluate_condition(source: str, variables: Scope) -> bool:
    """The value of an expression that must be true or false."""
    value = evaluate(source, variables)
    if not isinstance(value, bool):
        raise ExpressionError(f"{source}: true or false is expected, not {to_text(value)}")
    return value


class _Token(NamedTuple):
    kind: str
    text: str


_TOKENS: Final = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?u?)
    | (?P<string>r?"(?:[^"\\\n]|\\.)*"|r?'(?:[^'\\\n]|\\.)*')
    | (?P<name>[A-Za-z_]\w*)
    | (?P<op>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])
    )""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


def _tokens(source: str) -> list[_Token]:
    found, position = [], 0
    text = source.rstrip()
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None or match.lastgroup is None:
            raise ExpressionError(f"unexpected {text[position:].strip()[:10]!r}")
        found.append(_Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return [*found, _Token("end", "")]


@lru_cache(maxsize=1024)
def _compile(source: str) -> Node:
    parser = _Parser(_tokens(source))
    node = parser.ternary()
    parser.expect("end", "")
    return node


class _Parser:
    """Recursive descent, one method per level of precedence."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def accept(self, *texts: str) -> str | None:
        token = self._tokens[self._at]
        if token.kind == "string" or token.text not in texts:
            return None
        self._at += 1
        return token.text

    def expect(self, kind: str, text: str) -> None:
        token = self._tokens[self._at]
        if token.kind != kind or token.text != text:
            raise ExpressionError(f"{text or 'the end'!r} is expected, not {token.text!r}")
        self._at += 1

    def ternary(self) -> Node:
        condition = self._or()
        if not self.accept("?"):
            return condition
        then = self._or()
        self.expect("op", ":")
        other = self.ternary()
        return lambda scope: then(scope) if _truth(condition(scope)) else other(scope)

    def _or(self) -> Node:
        left = self._and()
        while self.accept("||"):
            left = _logical(left, self._and(), decisive=True)
        return left

    def _and(self) -> Node:
        left = self._relation()
        while self.accept("&&"):
            left = _logical(left, self._relation(), decisive=False)
        return left

    def _relation(self) -> Node:
        left = self._sum()
        while symbol := self.accept("==", "!=", "<", "<=", ">", ">=", "in"):
            left = _binary(_RELATIONS[symbol], left, self._sum())
        return left

    def _sum(self) -> Node:
        left = self._product()
        while symbol := self.accept("+", "-"):
            left = _binary(_add if symbol == "+" else _arithmetic("-"), left, self._product())
        return left

    def _product(self) -> Node:
        left = self._unary()
        while symbol := self.accept("*", "/", "%"):
            left = _binary(_arithmetic(symbol), left, self._unary())
        return left

    def _unary(self) -> Node:
        if self.accept("!"):
            operand = self._unary()
            return lambda scope: not _truth(operand(scope))
        if self.accept("-"):
            negated = self._unary()
            return lambda scope: -_number(negated(scope))
        return self._member()

    def _member(self) -> Node:
        node = self._primary()
        while symbol := self.accept(".", "["):
            if symbol == "[":
                key = self.ternary()
                self.expect("op", "]")
                node = _index(node, key)
            else:
                node = self._selected(node, self._name())
        return node

    def _selected(self, node: Node, name: str) -> Node:
        if not self.accept("("):
            return _index(node, lambda _: name)
        arguments = self._arguments(")")
        method = _METHODS.get(name)
        if method is None:
            raise ExpressionError(f"there is no method {name}()")
        return _call(name, method, [node, *arguments])

    def _primary(self) -> Node:
        token = self._tokens[self._at]
        self._at += 1
        match token.kind, token.text:
            case "number", text:
                number = _literal_number(text)
                return lambda _: number
            case "string", text:
                string = _unquote(text)
                return lambda _: string
            case "name", ("true" | "false" | "null") as text:
                constant = {"true": True, "false": False, "null": None}[text]
                return lambda _: constant
            case "name", name:
                return self._named(name)
            case "op", "(":
                inner = self.ternary()
                self.expect("op", ")")
                return inner
            case "op", "[":
                items = self._arguments("]")
                return lambda scope: [item(scope) for item in items]
            case "op", "{":
                return self._map()
            case _:
                raise ExpressionError(f"unexpected {token.text or 'end'!r}")

    def _named(self, name: str) -> Node:
        if self.accept("("):
            function = _FUNCTIONS.get(name)
            if function is None:
                raise ExpressionError(f"there is no function {name}()")
            return _call(name, function, self._arguments(")"))

        def look_up(scope: Scope) -> Any:
            if name not in scope:
                raise ExpressionError(f"there is no variable {name}")
            return scope[name]

        return look_up

    def _map(self) -> Node:
        entries: list[tuple[Node, Node]] = []
        while not self.accept("}"):
            key = self.ternary()
            self.expect("op", ":")
            entries.append((key, self.ternary()))
            if not self.accept(","):
                self.expect("op", "}")
                break
        return lambda scope: {key(scope): value(scope) for key, value in entries}

    def _arguments(self, closing: str) -> list[Node]:
        found: list[Node] = []
        while not self.accept(closing):
            found.append(self.ternary())
            if not self.accept(","):
                self.expect("op", closing)
                break
        return found

    def _name(self) -> str:
        token = self._tokens[self._at]
        if token.kind != "name":
            raise ExpressionError(f"a name is expected, not {token.text!r}")
        self._at += 1
        return token.text


def _logical(left: Node, right: Node, *, decisive: bool) -> Node:
    """CEL's ``||`` and ``&&``: a decisive side decides even where the other one fails."""

    def evaluate_both(scope: Scope) -> bool:
        try:
            if _truth(left(scope)) is decisive:
                return decisive
        except ExpressionError:
            if _truth(right(scope)) is decisive:
                return decisive
            raise
        return _truth(right(scope))

    return evaluate_both


def _binary(function: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    return lambda scope: function(left(scope), right(scope))


def _call(name: str, function: Callable[..., Any], arguments: list[Node]) -> Node:
    def call(scope: Scope) -> Any:
        values = [argument(scope) for argument in arguments]
        try:
            return function(*values)
        except (TypeError, ValueError, re.error) as error:
            shown = ", ".join(to_text(value) for value in values)
            raise ExpressionError(f"{name}({shown}): {error}") from None

    return call


def _index(node: Node, key: Node) -> Node:
    def look_up(scope: Scope) -> Any:
        container, wanted = node(scope), key(scope)
        try:
            if isinstance(container, list) and not isinstance(wanted, bool) and wanted >= 0:
                return container[int(wanted)]
            if isinstance(container, Mapping):
                return container[wanted]
        except (KeyError, IndexError, TypeError):
            pass
        raise ExpressionError(f"there is no {to_text(wanted)}")

    return look_up


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f"true or false is expected, not {to_text(value)}")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"a number is expected, not {to_text(value)}")
    return value


def _same_kind(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool)
    if isinstance(left, int | float):
        return isinstance(right, int | float)
    return type(left) is type(right)


def _equal(left: Any, right: Any) -> bool:
    return _same_kind(left, right) and bool(left == right)


def _compare(function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        if not _same_kind(left, right) or not isinstance(left, int | float | str):
            raise ExpressionError(f"cannot compare {to_text(left)} with {to_text(right)}")
        return function(left, right)

    return compare


def _contains(item: Any, container: Any) -> bool:
    if not isinstance(container, list | Mapping):
        raise ExpressionError(f"a list or a map is expected after in, not {to_text(container)}")
    return any(_equal(item, other) for other in container)


_RELATIONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _compare(operator.lt),
    "<=": _compare(operator.le),
    ">": _compare(operator.gt),
    ">=": _compare(operator.ge),
    "in": _contains,
}


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        return left + right
    return _number(left) + _number(right)


def _arithmetic(symbol: str) -> Callable[[Any, Any], Any]:
    def calculate(left: Any, right: Any) -> Any:
        _number(left), _number(right)
        if symbol == "-":
            return left - right
        if symbol == "*":
            return left * right
        if right == 0:
            raise ExpressionError("division by zero")
        whole = isinstance(left, int) and isinstance(right, int)
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        if symbol == "%":
            return left - quotient * right
        return quotient if whole else left / right

    return calculate


def _to_int(value: Any) -> int:
    return int(value, 10) if isinstance(value, str) else int(value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "1", "t"):
        return True
    if value in ("false", "False", "FALSE", "0", "f"):
        return False
    raise ValueError("not a boolean")


def _parse_json(text: Any) -> Any:
    return normalize(msgspec.json.decode(text)) if isinstance(text, str) else text


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "int": _to_int,
    "uint": _to_int,
    "double": float,
    "string": to_text,
    "bool": _to_bool,
    "size": len,
    "parseJson": _parse_json,
}
_METHODS: Final[dict[str, Callable[..., Any]]] = {
    "startsWith": lambda text, prefix: str.startswith(text, prefix),
    "endsWith": lambda text, suffix: str.endswith(text, suffix),
    "contains": lambda text, part: str.__contains__(text, part),
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "size": len,
}


def _literal_number(text: str) -> int | float:
    digits = text.rstrip("u")
    return int(digits) if digits.isdigit() else float(digits)


def _unquote(text: str) -> str:
    if text.startswith("r"):
        return text[2:-1]

    def replace(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _ESCAPES.get(match[3], match[3])

    return _ESCAPE.sub(replace, text[1:-1])
