"""``filterQuery``: conditions on an entity's fields and custom properties.

The grammar is upstream's: comparisons joined by ``AND`` and ``OR``, parentheses, ``LIKE`` and
``ILIKE`` with ``%`` and ``_``, ``IN (…)``. A name is a standard field or else a custom property,
optionally in backticks, optionally with ``.string_value``, ``.int_value``, ``.double_value`` or
``.bool_value``. A condition on something an entity does not have does not hold.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.registry.errors import BadRequest

__all__ = ["Predicate", "parse_filter"]

Predicate = Callable[[Mapping[str, Any]], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>`[^`]+`(?:\.\w+)?|[A-Za-z_][\w.]*)
      | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_VALUES: Final = ("string_value", "int_value", "double_value", "bool_value")
_TIMES: Final = ("createTimeSinceEpoch", "lastUpdateTimeSinceEpoch", "id")


def parse_filter(text: str) -> Predicate:
    """The predicate a filter states; raises :class:`BadRequest`."""
    parser = _Parser(text)
    predicate = parser.disjunction()
    parser.expect_end()
    return predicate


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._position = 0

    def disjunction(self) -> Predicate:
        terms = [self._conjunction()]
        while self._word("OR"):
            terms.append(self._conjunction())
        return terms[0] if len(terms) == 1 else lambda entity: any(t(entity) for t in terms)

    def expect_end(self) -> None:
        if self._position < len(self._tokens):
            raise self._error(f"unexpected {self._tokens[self._position][1]}")

    def _conjunction(self) -> Predicate:
        terms = [self._term()]
        while self._word("AND"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else lambda entity: all(t(entity) for t in terms)

    def _term(self) -> Predicate:
        if self._sign("("):
            inner = self.disjunction()
            if not self._sign(")"):
                raise self._error("a closing parenthesis is missing")
            return inner
        read = _reader(self._take("name", "a property"))
        if self._word("IN"):
            wanted = self._list()
            return lambda entity: any(_compare(operator.eq, read(entity), w) for w in wanted)
        for word, flags in (("LIKE", re.NOFLAG), ("ILIKE", re.IGNORECASE)):
            if self._word(word):
                pattern = _like(str(self._value()), flags)
                return lambda entity: _matches(pattern, read(entity))
        sign = self._take("sign", "an operator")
        if sign not in _COMPARE:
            raise self._error(f"{sign} is not an operator")
        compare, value = _COMPARE[sign], self._value()
        return lambda entity: _compare(compare, read(entity), value)

    def _list(self) -> list[Any]:
        if not self._sign("("):
            raise self._error("IN needs a list in parentheses")
        values = [self._value()]
        while self._sign(","):
            values.append(self._value())
        if not self._sign(")"):
            raise self._error("a closing parenthesis is missing")
        return values

    def _value(self) -> Any:
        kind, text = self._next("a value")
        match kind:
            case "string":
                return re.sub(r"\\(.)|('')", lambda m: m[1] or "'", text[1:-1])
            case "number":
                return float(text)
            case "name" if text.lower() in ("true", "false"):
                return text.lower() == "true"
        raise self._error(f"{text} is not a value; put strings in quotes")

    def _word(self, word: str) -> bool:
        return self._accept("name", word)

    def _sign(self, sign: str) -> bool:
        return self._accept("sign", sign)

    def _accept(self, kind: str, text: str) -> bool:
        if self._position < len(self._tokens):
            found_kind, found = self._tokens[self._position]
            if found_kind == kind and found.upper() == text:
                self._position += 1
                return True
        return False

    def _take(self, kind: str, what: str) -> str:
        found_kind, found = self._next(what)
        if found_kind != kind:
            raise self._error(f"{found} stands where {what} should be")
        return found

    def _next(self, what: str) -> tuple[str, str]:
        if self._position >= len(self._tokens):
            raise self._error(f"it ends where {what} should be")
        self._position += 1
        return self._tokens[self._position - 1]

    def _error(self, why: str) -> BadRequest:
        return BadRequest(f"filterQuery: cannot read {self._text!r}: {why}")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise BadRequest(
                f"filterQuery: cannot read {text!r} at {text[position:].strip()[:10]!r}"
            )
        tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return tokens


def _reader(name: str) -> Callable[[Mapping[str, Any]], Any]:
    """Reads a property of an entity; ``None`` where it has none."""
    stem, _, kind = name.rpartition(".")
    if kind not in _VALUES:
        stem, kind = name, ""
    quoted = stem.startswith("`")
    stem = stem.strip("`").removeprefix("customProperties.")

    def read(entity: Mapping[str, Any]) -> Any:
        if not kind and not quoted and stem in entity and stem != "customProperties":
            value = entity[stem]
            return float(value) if stem in _TIMES else value
        return _custom((entity.get("customProperties") or {}).get(stem), kind)

    return read


def _custom(value: Mapping[str, Any] | None, kind: str) -> Any:
    for field in _VALUES:
        if value is not None and field in value and kind in ("", field):
            return float(value[field]) if field == "int_value" else value[field]
    return None


def _compare(compare: Callable[[Any, Any], bool], found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and isinstance(wanted, float):
        # A number may be written without quotes for a field that is text, such as a name.
        wanted = f"{wanted:g}"
    if isinstance(found, bool) != isinstance(wanted, bool):
        return False
    if isinstance(found, str) != isinstance(wanted, str) or found is None:
        return False
    return compare(found, wanted)


def _like(pattern: str, flags: re.RegexFlag) -> re.Pattern[str]:
    parts = {"%": ".*", "_": "."}
    return re.compile("".join(parts.get(c) or re.escape(c) for c in pattern), flags | re.DOTALL)


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
