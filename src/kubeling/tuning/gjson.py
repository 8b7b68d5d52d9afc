"""The part of GJSON that trial conditions are written in.

A path picks a value out of a JSON document: ``status.conditions.#(type=="Complete")#``. Parts are
joined by ``.`` or ``|``; a part is a key (``\\.`` for a dot in it), an array index, ``#`` (every
element, or the length at the end), a query ``#(key op value)`` for the first match or with a
trailing ``#`` for all, ``@this``, or ``[path,path]`` for an array of several results. What GJSON
has beside that (modifiers, object multipaths) is refused by :class:`PathError`.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["MISSING", "PathError", "get", "holds", "parse"]

MISSING: Final = object()

_QUERY: Final = re.compile(
    r"^\s*(?P<path>.*?)\s*(?P<op>==|!=|<=|>=|<|>|!%|%|=)\s*(?P<value>.+?)\s*$"
)


class PathError(ValueError):
    """The path cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One part; ``mapped`` applies the rest of a ``.`` chain to every element of an array."""

    apply: Callable[[Any], Any]
    every: bool = False
    piped: bool = False
    hash: bool = False


def holds(document: Any, path: str) -> bool:
    """Whether a condition holds: its path leads to an object or array with something in it."""
    found = get(document, path)
    return isinstance(found, dict | list) and len(found) > 0


def get(document: Any, path: str) -> Any:
    """The value at a path, or :data:`MISSING`."""
    return _walk(document, parse(path))


def parse(path: str) -> list[_Part]:
    """Reads a path; raises :class:`PathError`."""
    return [_part(text, piped) for text, piped in _split(path)]


def _walk(value: Any, parts: list[_Part]) -> Any:
    for place, part in enumerate(parts):
        if value is MISSING:
            return MISSING
        rest = parts[place + 1 :]
        if part.hash:
            return _hash(value, rest)
        value = part.apply(value)
        if part.every and rest and not rest[0].piped:
            end = next((i for i, later in enumerate(rest) if later.piped), len(rest))
            mapped = [found for item in value if (found := _walk(item, rest[:end])) is not MISSING]
            return _walk(mapped, rest[end:])
    return value


def _hash(value: Any, rest: list[_Part]) -> Any:
    """``#``: the number of elements at the end of a path, else the rest applied to each."""
    if not isinstance(value, list):
        return MISSING
    if not rest or rest[0].piped:
        return _walk(len(value), rest)
    end = next((i for i, later in enumerate(rest) if later.piped), len(rest))
    mapped = [found for item in value if (found := _walk(item, rest[:end])) is not MISSING]
    return _walk(mapped, rest[end:])


def _split(path: str) -> Iterator[tuple[str, bool]]:
    """The parts of a path, and whether each follows a ``|``."""
    if not path.strip():
        raise PathError("the path is empty")
    text, piped, depth, quoted = "", False, 0, False
    escaped = False
    for character in path:
        if escaped:
            text, escaped = text + "\\" + character, False
        elif character == "\\":
            escaped = True
        elif character == '"' and depth:
            quoted = not quoted
            text += character
        elif quoted:
            text += character
        elif character in "([":
            depth += 1
            text += character
        elif character in ")]":
            depth -= 1
            text += character
        elif character in ".|" and depth == 0:
            yield text, piped
            text, piped = "", character == "|"
        else:
            text += character
    if depth or quoted:
        raise PathError(f'"{path}" has an unclosed bracket or quote')
    yield text, piped


def _part(text: str, piped: bool) -> _Part:
    if text == "#":
        return _Part(lambda value: value, piped=piped, hash=True)
    if text == "@this":
        return _Part(lambda value: value, piped=piped)
    if text.startswith("#("):
        return _query(text, piped)
    if text.startswith("["):
        return _several(text, piped)
    if text.startswith(("@", "{", "!")):
        raise PathError(
            f'"{text}" is not supported; use keys, indices and #(key=="value")# queries'
        )
    if not text:
        raise PathError("a part of the path is empty")
    return _Part(_key(re.sub(r"\\(.)", r"\1", text)), piped=piped)


def _key(key: str) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        if isinstance(value, dict):
            return value.get(key, MISSING)
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            return value[int(key)]
        return MISSING

    return apply


def _several(text: str, piped: bool) -> _Part:
    if not text.endswith("]"):
        raise PathError(f'"{text}" lacks its closing bracket')
    paths = [parse(part.strip()) for part in text[1:-1].split(",")]

    def apply(value: Any) -> Any:
        return [found for path in paths if (found := _walk(value, path)) is not MISSING]

    return _Part(apply, piped=piped)


def _query(text: str, piped: bool) -> _Part:
    every = text.endswith(")#")
    if not every and not text.endswith(")"):
        raise PathError(f'"{text}" lacks its closing parenthesis')
    matches = _predicate(text[2:-2] if every else text[2:-1])

    def all_matches(value: Any) -> Any:
        return [v for v in value if matches(v)] if isinstance(value, list) else MISSING

    def first_match(value: Any) -> Any:
        if not isinstance(value, list):
            return MISSING
        return next((v for v in value if matches(v)), MISSING)

    return _Part(all_matches if every else first_match, every=every, piped=piped)


def _predicate(query: str) -> Callable[[Any], bool]:
    found = _QUERY.match(query)
    if found is None:
        path = parse(query)
        return lambda value: _walk(value, path) not in (MISSING, None, False)
    wanted, compare = _literal(found["value"]), _COMPARISONS[found["op"]]
    inner = parse(found["path"]) if found["path"] else []

    def matches(value: Any) -> bool:
        actual = _walk(value, inner)
        return actual is not MISSING and compare(actual, wanted)

    return matches


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(a: Any, b: Any) -> bool:
        same = isinstance(a, str) == isinstance(b, str)
        return same and isinstance(a, str | int | float) and compare(a, b)

    return ordered


def _like(text: Any, pattern: Any) -> bool:
    return isinstance(text, str) and fnmatch.fnmatchcase(text, str(pattern))


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda a, b: bool(a == b),
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": _ordered(lambda a, b: bool(a < b)),
    "<=": _ordered(lambda a, b: bool(a <= b)),
    ">": _ordered(lambda a, b: bool(a > b)),
    ">=": _ordered(lambda a, b: bool(a >= b)),
    "%": _like,
    "!%": lambda a, b: not _like(a, b),
}
