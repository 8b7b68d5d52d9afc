"""``{{=…}}``: the expression language of expr-lang 1.17, as far as data can be asked with it.

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

from kubeling.workflows.expressions import exprlang_operators as operators
from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.exprlang_functions import FUNCTIONS, WITH_PREDICATE, Predicate
from kubeling.workflows.expressions.gotext import go_json, parse_json
from kubeling.workflows.expressions.jsonpaths import query

__all__ = ["Program", "compile_expression", "evaluate", "text_of"]

Environment = Mapping[str, Any]
Tree = Callable[[Environment], Any]

_TOKEN: Final = re.compile(
    r"""(?:\s|//[^\n]*|/\*.*?\*/)*(?:
      (?P<float>(?:\d[\d_]*)?\.\d[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+)
    | (?P<int>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*)
    | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`)
    | (?P<pointer>\#(?:[A-Za-z]\w*)?)
    | (?P<name>[A-Za-z_$][\w$]*)
    | (?P<op>\?\.|\?\?|\.\.|\*\*|&&|\|\||==|!=|<=|>=|[-+*/%^<>=!()\[\]{}?:;,.|])
    )""",
    re.VERBOSE | re.DOTALL,
)

_PRECEDENCE: Final = {
    "|": 1, "||": 10, "or": 10, "&&": 15, "and": 15, "==": 20, "!=": 20, "<": 20, ">": 20,
    "<=": 20, ">=": 20, "in": 20, "not": 20, "matches": 20, "contains": 20, "startsWith": 20,
    "endsWith": 20, "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60, "**": 100, "^": 100,
    "??": 500,
}  # fmt: skip
_NEGATABLE: Final = ("in", "matches", "contains", "startsWith", "endsWith")
_ORDER: Final = ("<", "<=", ">", ">=")
_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL
)
_ELEMENT, _INDEX, _ACC = "#", "#index", "#acc"


class Program:
    """An expression that can be computed again and again; ``names`` are the variables it reads."""

    def __init__(self, tree: Tree, names: frozenset[str]) -> None:
        self._tree = tree
        self.names = names

    def __call__(self, environment: Environment) -> Any:
        """Computes the expression; raises :class:`ExpressionError`."""
        try:
            return self._tree(environment)
        except ExpressionError:
            raise
        except (
            ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError
        ) as error:  # fmt: skip
            raise ExpressionError(str(error)) from None


@lru_cache(maxsize=1024)
def compile_expression(text: str) -> Program:
    """Reads an expression; raises :class:`ExpressionError`."""
    parser = _Parser(text)
    try:
        return Program(parser.parse(), frozenset(parser.names))
    except RecursionError:
        raise ExpressionError("is nested too deeply") from None


def evaluate(text: str, environment: Environment) -> Any:
    """Computes an expression; raises :class:`ExpressionError`."""
    return compile_expression(text)(environment)


def text_of(value: Any) -> str:
    """A result as it is put into a template: strings bare, everything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ExpressionError('gives nil; say what to use instead with "?? value"')
    return go_json(value)


class _Parser:
    """Reads one expression; ``names`` collects the variables it mentions."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokenize(text)
        self._position = 0
        self._locals: list[str] = []
        self.names: set[str] = set()

    def parse(self) -> Tree:
        tree = self._sequence()
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

    def _take_name(self, what: str) -> str:
        kind, name = self._tokens[self._position]
        if kind != "name":
            raise ExpressionError(f'"{name}" cannot be {what}')
        self._position += 1
        return name

    # -- statements --------------------------------------------------------------------------

    def _sequence(self) -> Tree:
        if self._is("let"):
            return self._let()
        tree = self._expression(0)
        while self._accept(";"):
            tree = self._sequence()
        return tree

    def _let(self) -> Tree:
        self._expect("let")
        name = self._take_name("the name of a variable")
        if name in FUNCTIONS or name in WITH_PREDICATE:
            raise ExpressionError(f"cannot redeclare builtin {name}")
        self._expect("=")
        value = self._expression(0)
        self._expect(";")
        self._locals.append(name)
        body = self._sequence()
        self._locals.pop()
        return lambda env: body({**env, name: value(env)})

    def _if(self) -> Tree:
        condition = self._expression(0)
        self._expect("{")
        yes = self._sequence()
        self._expect("}")
        self._expect("else")
        if self._accept("if"):
            no = self._if()
        else:
            self._expect("{")
            no = self._sequence()
            self._expect("}")
        return lambda env: yes(env) if operators.truth(condition(env)) else no(env)

    # -- operators ---------------------------------------------------------------------------

    def _expression(self, floor: int) -> Tree:
        if floor == 0 and self._accept("if"):
            return self._if()
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
            if sign in _ORDER:
                left = self._chain(left, sign, right, strength)
            else:
                left = _binary(sign, left, right)
            if negated:
                left = _negate(left)
        return self._conditional(left) if floor == 0 else left

    def _chain(self, left: Tree, sign: str, right: Tree, strength: int) -> Tree:
        """``1 < a < 3``: every neighbour is compared."""
        operands, signs = [left, right], [sign]
        while self._is(*_ORDER):
            signs.append(self._text())
            self._position += 1
            operands.append(self._expression(strength))

        def run(env: Environment) -> bool:
            before = operands[0](env)
            for each, operand in zip(signs, operands[1:], strict=True):
                after = operand(env)
                if not operators.compare(each, before, after):
                    return False
                before = after
            return True

        return run

    def _strength(self) -> int:
        kind, text = self._tokens[self._position]
        if kind not in ("op", "name"):
            return -1
        if text == "not" and self._tokens[self._position + 1][1] not in _NEGATABLE:
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
        return lambda env: yes(env) if operators.truth(condition(env)) else no(env)

    def _prefix(self) -> Tree:
        if self._accept("!", "not"):
            return _negate(self._expression(50))
        if self._accept("-"):
            operand = self._expression(90)
            return lambda env: -operators.number(operand(env))
        if self._accept("+"):
            operand = self._expression(90)
            return lambda env: operators.number(operand(env))
        return self._suffixes(self._primary())

    # -- values ------------------------------------------------------------------------------

    def _primary(self) -> Tree:
        kind, text = self._tokens[self._position]
        self._position += 1
        match kind:
            case "int":
                return _constant(_integer(text))
            case "float":
                return _constant(float(text.replace("_", "")))
            case "string":
                return _constant(_unquote(text))
            case "pointer":
                return _pointer(text)
            case "name":
                return self._name(text)
            case "end":
                raise ExpressionError("ends where a value was expected")
        match text:
            case "(":
                inner = self._sequence()
                self._expect(")")
                return inner
            case "[":
                return self._list()
            case "{":
                return self._map()
            case ".":
                self._position -= 1
                return _pointer(_ELEMENT)
        raise ExpressionError(f'unexpected "{text}"')

    def _name(self, name: str) -> Tree:
        if name in ("true", "false"):
            return _constant(name == "true")
        if name == "nil":
            return _constant(None)
        if self._is("(") and name not in self._locals:
            return self._call(name, [])
        if name == "sprig" and self._is("."):
            return self._sprig([])
        if name == "$env":
            return lambda env: env
        if name not in self._locals:
            self.names.add(name)
        return lambda env: _variable(env, name)

    def _sprig(self, arguments: list[Tree]) -> Tree:
        self._expect(".")
        name = self._take_name("a function")
        from kubeling.workflows.expressions.sprig import FUNCTIONS as SPRIG

        function = SPRIG.get(name)
        if function is None:
            raise ExpressionError(f'unknown function "sprig.{name}"')
        return _applied(function, [*arguments, *self._arguments()])

    def _piped(self, left: Tree) -> Tree:
        name = self._take_name("a function")
        if name == "sprig":
            return self._suffixes(self._sprig([left]))
        return self._suffixes(self._call(name, [left]))

    def _call(self, name: str, arguments: list[Tree]) -> Tree:
        if name == "reduce":
            return self._reduce(arguments)
        if name in WITH_PREDICATE:
            return self._with_predicate(name, arguments)
        given = [*arguments, *self._arguments()]
        if name == "jsonpath":
            return _applied(_jsonpath, given)
        function = FUNCTIONS.get(name)
        if function is None:
            raise ExpressionError(f'unknown function "{name}"')
        return _applied(function, given)

    def _arguments(self) -> list[Tree]:
        arguments: list[Tree] = []
        self._expect("(")
        while not self._is(")"):
            arguments.append(self._expression(0))
            if not self._accept(","):
                break
        self._expect(")")
        return arguments

    def _with_predicate(self, name: str, arguments: list[Tree]) -> Tree:
        self._expect("(")
        source = arguments[0] if arguments else self._expression(0)
        body: Tree | None = None
        rest: list[Tree] = []
        if not self._is(")") and (arguments or self._accept(",")):
            body = self._predicate()
            while self._accept(","):
                rest.append(self._expression(0))
        self._accept(",")
        self._expect(")")
        function = WITH_PREDICATE[name]

        def run(env: Environment) -> Any:
            if body is None:
                return function(source(env))
            return function(source(env), _closure(body, env), *(other(env) for other in rest))

        return run

    def _reduce(self, arguments: list[Tree]) -> Tree:
        self._expect("(")
        source = arguments[0] if arguments else self._expression(0)
        if not arguments:
            self._expect(",")
        body = self._predicate()
        initial = self._expression(0) if self._accept(",") else None
        self._expect(")")

        def run(env: Environment) -> Any:
            members = list(source(env))
            if initial is None and not members:
                raise ExpressionError("reduce of empty array with no initial value")
            begin = 0 if initial is not None else 1
            total = initial(env) if initial is not None else members[0]
            for place, one in enumerate(members[begin:], begin):
                total = body({**env, _ELEMENT: one, _INDEX: place, _ACC: total})
            return total

        return run

    def _predicate(self) -> Tree:
        braced = self._accept("{")
        body = self._sequence()
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
            if self._accept("?."):
                value = self._index(value) if self._accept("[") else self._member(value)
            elif self._accept("."):
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
        if self._is("("):
            arguments = self._arguments()
            return lambda env: operators.method(value(env), name, [a(env) for a in arguments])
        return lambda env: operators.member(value(env), name)

    def _index(self, value: Tree) -> Tree:
        start: Tree | None = None if self._is(":") else self._expression(0)
        if not self._accept(":"):
            self._expect("]")
            if start is None:
                raise ExpressionError("an index is missing")
            index = start
            return lambda env: operators.member(value(env), index(env))
        stop: Tree | None = None if self._is("]") else self._expression(0)
        self._expect("]")

        def run(env: Environment) -> Any:
            first = operators.whole(start(env)) if start is not None else None
            last = operators.whole(stop(env)) if stop is not None else None
            return value(env)[first:last]

        return run


def _tokenize(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while re.sub(r"//[^\n]*|/\*.*?\*/", "", text[position:], flags=re.DOTALL).strip():
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


def _integer(text: str) -> int:
    plain = text.replace("_", "")
    return int(plain, 0 if plain[:1] == "0" and plain[1:2].isalpha() else 10)


def _pointer(name: str) -> Tree:
    def run(env: Environment) -> Any:
        if name not in env:
            raise ExpressionError(f'"{name}" is only known inside a predicate')
        return env[name]

    return run


def _variable(environment: Environment, name: str) -> Any:
    try:
        return environment[name]
    except KeyError:
        raise ExpressionError(f'unknown name "{name}"') from None


def _unquote(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]

    def shown(found: re.Match[str]) -> str:
        for group, base in ((1, 16), (2, 16), (3, 16), (4, 8)):
            if found[group]:
                return chr(int(found[group], base))
        return _ESCAPES.get(found[5], found[5])

    return _ESCAPE.sub(shown, text[1:-1])


def _negate(operand: Tree) -> Tree:
    return lambda env: not operators.truth(operand(env))


def _binary(sign: str, left: Tree, right: Tree) -> Tree:
    """``&&``, ``||`` and ``??`` compute no more than needed."""
    match sign:
        case "&&" | "and":
            return lambda env: operators.truth(left(env)) and operators.truth(right(env))
        case "||" | "or":
            return lambda env: operators.truth(left(env)) or operators.truth(right(env))
        case "??":

            def run(env: Environment) -> Any:
                value = left(env)
                return right(env) if value is None else value

            return run
    operation = operators.operator(sign)
    return lambda env: operation(left(env), right(env))


def _applied(function: Callable[..., Any], arguments: list[Tree]) -> Tree:
    return lambda env: function(*(argument(env) for argument in arguments))


def _closure(body: Tree, env: Environment) -> Predicate:
    return lambda one, place: body({**env, _ELEMENT: one, _INDEX: place})


def _jsonpath(text: str, path: str) -> Any:
    return query(path, parse_json(text), _filter_holds)


def _filter_holds(condition: str, element: Any) -> bool:
    """A JSONPath filter, with ``@`` for the element; what is there counts as true."""
    value = evaluate(condition.replace("@", _ELEMENT), {_ELEMENT: element})
    return value if isinstance(value, bool) else value is not None
