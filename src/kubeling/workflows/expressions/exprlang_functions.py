"""Operators and built-in functions of the expression language, as combinators over closures."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["WITH_PREDICATE", "binary", "call", "member", "negate", "number", "truth"]

Tree = Callable[[Mapping[str, Any]], Any]

WITH_PREDICATE: Final = frozenset(
    {"all", "any", "count", "filter", "find", "findIndex", "map", "none", "one", "sortBy"}
)
"""Functions whose second argument is computed per element (``#``)."""


def binary(sign: str, left: Tree, right: Tree) -> Tree:
    """The closure of a binary operator; ``&&``, ``||`` and ``??`` compute no more than needed."""
    match sign:
        case "&&" | "and":
            return lambda env: truth(left(env)) and truth(right(env))
        case "||" | "or":
            return lambda env: truth(left(env)) or truth(right(env))
        case "??":
            return lambda env: _first(left(env), right, env)
    operation = _OPERATORS.get(sign)
    if operation is None:
        raise ExpressionError(f'unexpected "{sign}"')
    return lambda env: operation(left(env), right(env))


def negate(operand: Tree) -> Tree:
    """Logical not."""
    return lambda env: not truth(operand(env))


def truth(value: Any) -> bool:
    """The value, which must be true or false."""
    if not isinstance(value, bool):
        raise ExpressionError(f"{_shown(value)} is not true or false")
    return value


def number(value: Any) -> Any:
    """The value, which must be a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"{_shown(value)} is not a number; convert it with asInt or asFloat")
    return value


def member(value: Any, key: Any) -> Any:
    """``value.key`` or ``value[key]``; nil where there is none."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return value.get(str(key))
    if isinstance(value, list | str) and isinstance(key, int):
        return value[key]
    raise ExpressionError(f"{_shown(value)} has no member {key!r}")


def call(name: str, arguments: list[Tree]) -> Tree:
    """The closure of a function call."""
    if name in WITH_PREDICATE:
        return _with_predicate(name, arguments)
    function = _FUNCTIONS.get(name)
    if function is None:
        raise ExpressionError(f'unknown function "{name}"')
    return lambda env: function(*(argument(env) for argument in arguments))


def _with_predicate(name: str, arguments: list[Tree]) -> Tree:
    if len(arguments) not in (1, 2):
        raise ExpressionError(f"{name} takes a list and a condition")
    body = arguments[1] if len(arguments) == 2 else lambda env: env["#"]
    source = arguments[0]

    def run(env: Mapping[str, Any]) -> Any:
        members = source(env)
        if isinstance(members, Mapping):
            members = list(members.values())
        return _PREDICATES[name](members, [body({**env, "#": element}) for element in members])

    return run


_PREDICATES: Final[dict[str, Callable[[list[Any], list[Any]], Any]]] = {
    "all": lambda _, results: all(map(truth, results)),
    "any": lambda _, results: any(map(truth, results)),
    "none": lambda _, results: not any(map(truth, results)),
    "one": lambda _, results: sum(map(truth, results)) == 1,
    "count": lambda _, results: sum(map(truth, results)),
    "map": lambda _, results: results,
    "filter": lambda members, results: [m for m, r in zip(members, results, strict=True) if r],
    "find": lambda members, results: next(
        (m for m, r in zip(members, results, strict=True) if r), None
    ),
    "findIndex": lambda _, results: next((i for i, r in enumerate(results) if r), -1),
    "sortBy": lambda members, results: [
        m for _, m in sorted(zip(results, members, strict=True), key=lambda pair: pair[0])
    ],
}


def _first(value: Any, other: Tree, env: Mapping[str, Any]) -> Any:
    return other(env) if value is None else value


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool], sign: str) -> Callable[[Any, Any], bool]:
    def run(left: Any, right: Any) -> bool:
        if isinstance(left, str) != isinstance(right, str):
            raise ExpressionError(
                f"{_shown(left)} {sign} {_shown(right)}: compare two numbers or two strings"
            )
        return compare(left, right)

    return run


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return number(left) + number(right)


def _in(left: Any, right: Any) -> bool:
    if right is None:
        return False
    return any(_equal(left, m) for m in right) if isinstance(right, list) else left in right


def _divide(left: Any, right: Any) -> float:
    return float(number(left) / number(right))


_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": _equal,
    "!=": lambda a, b: not _equal(a, b),
    "<": _ordered(lambda a, b: a < b, "<"),
    "<=": _ordered(lambda a, b: a <= b, "<="),
    ">": _ordered(lambda a, b: a > b, ">"),
    ">=": _ordered(lambda a, b: a >= b, ">="),
    "in": _in,
    "matches": lambda a, b: re.search(b, a) is not None,
    "contains": lambda a, b: b in a,
    "startsWith": lambda a, b: a.startswith(b),
    "endsWith": lambda a, b: a.endswith(b),
    "..": lambda a, b: list(range(number(a), number(b) + 1)),
    "+": _add,
    "-": lambda a, b: number(a) - number(b),
    "*": lambda a, b: number(a) * number(b),
    "/": _divide,
    "%": lambda a, b: int(math.fmod(number(a), number(b))),
    "**": lambda a, b: number(a) ** number(b),
    "^": lambda a, b: number(a) ** number(b),
}


def _as_int(value: Any) -> int:
    return int(float(value)) if isinstance(value, str) and "." in value else int(value)


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _to_json(value)


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _from_json(text: str) -> Any:
    return msgspec.json.decode(text)


def _jsonpath(text: str, path: str) -> Any:
    """``$.a.b[0]['c']``: members and indices, which is what workflows use."""
    value = _from_json(text)
    rest = path.removeprefix("$")
    for found in re.finditer(r"\.([\w-]+)|\[(\d+)\]|\[['\"]([^'\"]+)['\"]\]", rest):
        key = found.group(1) or found.group(3)
        value = member(value, key if key is not None else int(found.group(2)))
    return value


def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new)


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "asInt": _as_int,
    "asFloat": float,
    "int": _as_int,
    "float": float,
    "string": _string,
    "jsonpath": _jsonpath,
    "toJson": _to_json,
    "toJSON": _to_json,
    "fromJSON": _from_json,
    "toBase64": lambda s: base64.b64encode(s.encode()).decode(),
    "fromBase64": lambda s: base64.b64decode(s).decode(),
    "len": len,
    "upper": str.upper,
    "lower": str.lower,
    "trim": lambda s, chars=None: s.strip(chars),
    "trimPrefix": str.removeprefix,
    "trimSuffix": str.removesuffix,
    "split": lambda s, sep: s.split(sep),
    "join": lambda parts, sep="": sep.join(map(_string, parts)),
    "replace": _replace,
    "repeat": lambda s, n: s * n,
    "indexOf": str.find,
    "hasPrefix": str.startswith,
    "hasSuffix": str.endswith,
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": round,
    "max": lambda *xs: max(xs[0] if len(xs) == 1 else xs),
    "min": lambda *xs: min(xs[0] if len(xs) == 1 else xs),
    "sum": sum,
    "mean": lambda xs: sum(xs) / len(xs),
    "first": lambda xs: xs[0] if xs else None,
    "last": lambda xs: xs[-1] if xs else None,
    "keys": lambda m: sorted(m),
    "values": lambda m: [m[key] for key in sorted(m)],
    "sort": sorted,
    "reverse": lambda xs: xs[::-1],
    "concat": lambda *lists: [m for xs in lists for m in xs],
    "type": lambda v: _TYPES.get(type(v), "unknown"),
    "sprig.trim": str.strip,
    "sprig.upper": str.upper,
    "sprig.lower": str.lower,
    "sprig.title": str.title,
    "sprig.int": _as_int,
    "sprig.float64": float,
    "sprig.toString": _string,
    "sprig.add": lambda *xs: sum(map(_as_int, xs)),
    "sprig.sub": lambda a, b: _as_int(a) - _as_int(b),
    "sprig.mul": lambda *xs: math.prod(map(_as_int, xs)),
    "sprig.div": lambda a, b: _as_int(a) // _as_int(b),
    "sprig.default": lambda other, v=None: v or other,
    "sprig.ternary": lambda yes, no, condition: yes if condition else no,
    "sprig.replace": lambda old, new, s: s.replace(old, new),
    "sprig.contains": lambda part, s: part in s,
    "sprig.hasPrefix": lambda part, s: s.startswith(part),
    "sprig.hasSuffix": lambda part, s: s.endswith(part),
    "sprig.trimPrefix": lambda part, s: s.removeprefix(part),
    "sprig.trimSuffix": lambda part, s: s.removesuffix(part),
    "sprig.splitList": lambda sep, s: s.split(sep),
    "sprig.join": lambda sep, parts: sep.join(map(_string, parts)),
    "sprig.b64enc": lambda s: base64.b64encode(s.encode()).decode(),
    "sprig.b64dec": lambda s: base64.b64decode(s).decode(),
    "sprig.toJson": _to_json,
    "sprig.fromJson": _from_json,
    "sprig.len": len,
    "sprig.dict": lambda *kv: dict(zip(kv[::2], kv[1::2], strict=True)),
    "sprig.list": lambda *xs: list(xs),
    "sprig.trunc": lambda n, s: s[:n] if n >= 0 else s[n:],
    "sprig.quote": _to_json,
}

_TYPES: Final[dict[type, str]] = {
    type(None): "nil", bool: "bool", int: "int", float: "float", str: "string", list: "array",
    dict: "map",
}  # fmt: skip


def _shown(value: Any) -> str:
    return "nil" if value is None else repr(value)
