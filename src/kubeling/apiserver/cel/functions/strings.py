"""Text: CEL's own functions and those of its strings extension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.functions.conversions import text_of
from kubeling.apiserver.cel.library import Library

__all__ = ["STRINGS"]

STRINGS: Final = Library()
define = STRINGS.define

define("string.contains(string) -> bool", linear=True)(lambda text, part: part in text)
define("string.startsWith(string) -> bool", linear=True)(str.startswith)
define("string.endsWith(string) -> bool", linear=True)(str.endswith)
define("string.indexOf(string) -> int", linear=True)(str.find)
define("string.lastIndexOf(string) -> int", linear=True)(str.rfind)
define("string.split(string) -> list(string)", linear=True)(
    lambda text, separator: text.split(separator) if separator else list(text)
)
define("list(string).join() -> string", linear=True)("".join)
define("list(string).join(string) -> string", linear=True)(
    lambda items, separator: separator.join(items)
)
define("string.trim() -> string", linear=True)(str.strip)
define("string.reverse() -> string", linear=True)(lambda text: text[::-1])


def _ascii(change: Callable[[str], str]) -> Callable[[str], str]:
    """Changes only the letters that ASCII has."""
    return lambda text: "".join(change(mark) if mark.isascii() else mark for mark in text)


define("string.lowerAscii() -> string", linear=True)(_ascii(str.lower))
define("string.upperAscii() -> string", linear=True)(_ascii(str.upper))


def _within(text: str, index: int) -> int:
    if 0 <= index <= len(text):
        return index
    raise EvalError(f"index out of range: {index}")


@define("string.charAt(int) -> string")
def _char_at(text: str, index: int) -> str:
    return text[_within(text, index) :][:1]


@define("string.indexOf(string, int) -> int", linear=True)
def _index_of(text: str, part: str, start: int) -> int:
    return text.find(part, _within(text, start))


@define("string.lastIndexOf(string, int) -> int", linear=True)
def _last_index_of(text: str, part: str, start: int) -> int:
    return text.rfind(part, 0, _within(text, start) + len(part))


@define("string.split(string, int) -> list(string)", linear=True)
def _split(text: str, separator: str, limit: int) -> list[str]:
    if limit == 0:
        return []
    if limit < 0:
        return text.split(separator) if separator else list(text)
    if separator:
        return text.split(separator, limit - 1)
    return [*text[: limit - 1], *filter(None, [text[limit - 1 :]])]


@define("string.replace(string, string) -> string", linear=True)
def _replace(text: str, old: str, new: str) -> str:
    return _checked_length(text, old, new, -1)


@define("string.replace(string, string, int) -> string", linear=True)
def _checked_length(text: str, old: str, new: str, limit: int) -> str:
    times = text.count(old) if limit < 0 else min(limit, text.count(old))
    if times * len(new) > _MAX_TEXT:
        raise EvalError("string is too long")
    return text.replace(old, new, limit)


_MAX_TEXT: Final = 4_000_000


@define("string.substring(int) -> string", linear=True)
def _substring_from(text: str, start: int) -> str:
    return text[_within(text, start) :]


@define("string.substring(int, int) -> string", linear=True)
def _substring(text: str, start: int, end: int) -> str:
    if start > end:
        raise EvalError(f"invalid substring range. start: {start}, end: {end}")
    return text[_within(text, start) : _within(text, end)]


_QUOTED: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}


@define(".strings.quote(string) -> string", linear=True)
def _quote(text: str) -> str:
    return '"' + "".join(_QUOTED.get(mark, mark) for mark in text) + '"'


@define(".jsonpatch.escapeKey(string) -> string", linear=True)
def _escape_key(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


# Formatting


@define("string.format(list(dyn)) -> string", linear=True)
def _format(text: str, arguments: list[Any]) -> str:
    made, at, used = [], 0, 0
    while (mark := text.find("%", at)) >= 0:
        made.append(text[at:mark])
        end = mark + 1
        while end < len(text) and (text[end] in "." or text[end].isdigit()):
            end += 1
        verb = text[end : end + 1]
        if verb == "%":
            made.append("%")
        else:
            if used >= len(arguments):
                raise EvalError(f"index {used} out of range")
            made.append(_formatted(verb, text[mark + 1 : end], arguments[used]))
            used += 1
        at = end + 1
    return "".join([*made, text[at:]])


def _formatted(verb: str, precision: str, value: Any) -> str:
    places = int(precision[1:] or 0) if precision.startswith(".") else 6
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match verb:
        case "s":
            return _shown(value)
        case "d" if number:
            return text_of(value)
        case "f" if number:
            return f"{float(value):.{min(places, 100)}f}"
        case "e" if number:
            return f"{float(value):.{min(places, 100)}e}"
        case "b" if isinstance(value, int):
            return f"{value:b}"
        case "o" if isinstance(value, int) and number:
            return f"{value:o}"
        case "x" | "X":
            return _hexadecimal(value, upper=verb == "X")
    raise EvalError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _hexadecimal(value: Any, *, upper: bool) -> str:
    match value:
        case bool():
            raise EvalError("error during formatting: hexadecimal clause cannot be used on a bool")
        case int():
            text = f"{value:x}"
        case str():
            text = value.encode().hex()
        case bytes():
            text = value.hex()
        case _:
            raise EvalError(
                "error during formatting: only integers, strings and bytes are hexadecimal"
            )
    return text.upper() if upper else text


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case list():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case dict():
            pairs = sorted((_shown(key), _shown(inner)) for key, inner in value.items())
            return "{" + ", ".join(f"{key}: {inner}" for key, inner in pairs) + "}"
        case _:
            return text_of(value)
