"""Conditions of steps: whether a JSON document has what a gjson path names.

The part of gjson's syntax that conditions use: keys with wildcards, indices, ``#``, queries
(``#(name=="x")``, all of them with ``#(…)#``), and ``@this``, also as ``[@this]``, by which a query
is put to the whole document. Other modifiers and multipaths are refused when a graph is written.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ConditionError", "check", "doubt", "exists"]

_OPERATORS: Final = ("==", "!=", "<=", ">=", "!%", "=", "<", ">", "%")
_MISSING: Final = object()
_EXAMPLE: Final = '[@this].#(name=="x")'


class ConditionError(ValueError):
    """The path cannot be read."""


@dataclass(frozen=True, slots=True)
class _Query:
    path: str
    operator: str
    value: str
    all: bool


_Part = str | _Query


def exists(document: Any, path: str) -> bool:
    """Whether the document has what the path names."""
    return _get(document, list(_parts(path))) is not _MISSING


def check(path: str) -> None:
    """Raises :class:`ConditionError` if the path cannot be read."""
    for part in _parts(path):
        if isinstance(part, _Query):
            check(part.path)


def doubt(path: str) -> str:
    """What looks like a comparison and is the name of a key; empty if nothing does."""
    with contextlib.suppress(ConditionError):
        for part in _parts(path):
            if isinstance(part, str) and any(sign in part for sign in ("==", "!=", "<", ">")):
                return f"{part} is a key of that name; a comparison is as in {_EXAMPLE}"
    return ""


def _parts(path: str) -> Iterator[_Part]:
    rest = path
    while rest:
        if rest[0] in ".|":
            rest = rest[1:]
        elif rest.startswith("[@this]"):
            yield "[@this]"
            rest = rest[7:]
        elif re.match(r"@this(?=$|[.|])", rest):
            rest = rest[5:]
        elif rest.startswith("#("):
            end = _closing(rest)
            inside, rest = rest[2:end], rest[end + 1 :]
            every = rest.startswith("#")
            rest = rest[1:] if every else rest
            yield _query(inside, every=every)
        elif rest[0] in "@{[!":
            raise ConditionError(
                f"{rest} is not understood: only @this and [@this] are, as in {_EXAMPLE}"
            )
        else:
            found = re.match(r"(?:\\.|[^.|\\])+", rest)
            if found is None:
                raise ConditionError(f"{rest} ends in the middle of an escape")
            yield found.group()
            rest = rest[found.end() :]


def _closing(text: str) -> int:
    depth, quoted, position = 0, False, 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == '"':
            quoted = not quoted
        elif not quoted and character == "(":
            depth += 1
        elif not quoted and character == ")":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise ConditionError(f"{text} lacks a closing parenthesis")


def _query(text: str, *, every: bool) -> _Query:
    depth, quoted = 0, False
    for position, character in enumerate(text):
        if character == '"' and text[position - 1 : position] != "\\":
            quoted = not quoted
        elif not quoted and character in "()":
            depth += 1 if character == "(" else -1
        elif not quoted and depth == 0:
            operator = next((o for o in _OPERATORS if text.startswith(o, position)), None)
            if operator:
                value = text[position + len(operator) :].strip()
                if value.startswith("~"):
                    raise ConditionError(f"{value} is not understood in a query")
                if len(value) > 1 and value[0] == value[-1] == '"':
                    value = value[1:-1].replace('\\"', '"')
                return _Query(text[:position].strip(), operator, value, every)
    return _Query(text.strip(), "", "", every)


def _get(value: Any, parts: list[_Part]) -> Any:
    if not parts:
        return value
    part, rest = parts[0], parts[1:]
    if part == "[@this]":
        return _get([value], rest)
    if isinstance(part, _Query):
        return _matching(value, part, rest)
    if isinstance(value, list):
        return _from_list(value, part, rest)
    if isinstance(value, dict):
        key = next((key for key in value if _pattern(part).fullmatch(key)), None)
        return _MISSING if key is None else _get(value[key], rest)
    return _MISSING


def _from_list(value: list[Any], part: str, rest: list[_Part]) -> Any:
    if part == "#":
        if not rest:
            return len(value)
        found = [_get(item, rest) for item in value]
        return [item for item in found if item is not _MISSING]
    if part.isdigit() and int(part) < len(value):
        return _get(value[int(part)], rest)
    return _MISSING


def _matching(value: Any, query: _Query, rest: list[_Part]) -> Any:
    if not isinstance(value, list):
        return _MISSING
    found = [item for item in value if _holds(item, query)]
    if query.all:
        results = [_get(item, rest) for item in found]
        return [item for item in results if item is not _MISSING]
    return _get(found[0], rest) if found else _MISSING


def _holds(item: Any, query: _Query) -> bool:
    found = _get(item, list(_parts(query.path)))
    if found is _MISSING:
        return False
    if not query.operator:
        return True
    if isinstance(found, bool):
        return _compare(int(found), query.operator, int(query.value == "true"))
    if isinstance(found, str):
        if query.operator in ("%", "!%"):
            matches = _pattern(query.value).fullmatch(found) is not None
            return matches == (query.operator == "%")
        return _compare(found, query.operator, query.value)
    if isinstance(found, (int, float)):
        return _compare(float(found), query.operator, _number(query.value))
    return False


def _compare(left: Any, operator: str, right: Any) -> bool:
    match operator:
        case "=" | "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case ">=":
            return bool(left >= right)
    return False


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _pattern(text: str) -> re.Pattern[str]:
    """A key, in which ``*`` and ``?`` stand for characters and ``\\`` takes that from them."""
    made, escaped = "", False
    for character in text:
        if character == "\\" and not escaped:
            escaped = True
            continue
        wild = {"*": ".*", "?": "."}.get(character) if not escaped else None
        made += wild or re.escape(character)
        escaped = False
    return re.compile(made, re.DOTALL)
