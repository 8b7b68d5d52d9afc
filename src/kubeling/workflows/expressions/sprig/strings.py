"""Sprig's functions of texts."""

from __future__ import annotations

import random
import re
import secrets
import string
from collections.abc import Callable
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.gotext import go_text
from kubeling.workflows.expressions.sprig.casts import is_empty, to_int, to_text, to_texts

__all__ = ["FUNCTIONS"]


def _abbrev(width: int, text: str) -> str:
    width = to_int(width)
    return text if width < 4 or len(text) <= width else f"{text[: width - 3]}..."


def _abbrev_both(left: int, right: int, text: str) -> str:
    left, right = to_int(left), to_int(right)
    if right < 4 or (left > 0 and right < 7) or len(text) <= right:
        return text
    if left <= 4:
        return f"{text[: right - 3]}..."
    if left > len(text):
        left = len(text)
    if len(text) - left < right - 3:
        left = len(text) - (right - 3)
    if left + right - 3 < len(text):
        return f"...{_abbrev(right - 3, text[left:])}"
    return f"...{text[len(text) - (right - 3) :]}"


def _trunc(count: int, text: str) -> str:
    count = to_int(count)
    if count < 0:
        return text[count:] if len(text) + count > 0 else text
    return text[:count]


def _substr(start: int, end: int, text: str) -> str:
    start, end = to_int(start), to_int(end)
    if start < 0:
        return text[:end]
    return text[start:] if end < 0 or end > len(text) else text[start:end]


def _title(text: str) -> str:
    return re.sub(r"(^|[\s\W_])(\w)", lambda m: m[1] + m[2].upper(), text) if text else ""


def _untitle(text: str) -> str:
    return re.sub(r"(^|\s)(\w)", lambda m: m[1] + m[2].lower(), text)


def _initials(text: str) -> str:
    return "".join(word[0] for word in text.split())


def _words(text: str) -> list[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", text)
    return [word for word in re.split(r"[\s_\-.]+", spaced) if word]


def _camel(text: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[\s_\-.]+", text))


def _wrap(width: int, text: str, separator: str = "\n", *, hard: bool = False) -> str:
    """At spaces; longer words stay whole unless ``hard``."""
    width = max(1, to_int(width))
    lines: list[str] = []
    while len(text) > width:
        place = text.rfind(" ", 0, width + 1)
        if place < 0 and hard:
            lines.append(text[:width])
            text = text[width:]
            continue
        if place < 0:
            place = text.find(" ", width)
        if place < 0:
            break
        lines.append(text[:place])
        text = text[place + 1 :]
    return separator.join([*lines, text])


def _indent(count: int, text: str) -> str:
    pad = " " * to_int(count)
    return pad + text.replace("\n", f"\n{pad}")


def _quote(*values: Any) -> str:
    return " ".join(_go_quoted(to_text(value)) for value in values if value is not None)


def _go_quoted(text: str) -> str:
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    for sign, escape in (("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        shown = shown.replace(sign, escape)
    return f'"{shown}"'


def _plural(one: str, many: str, count: int) -> str:
    return one if to_int(count) == 1 else many


def _shuffle(text: str) -> str:
    signs = list(text)
    random.shuffle(signs)
    return "".join(signs)


def _random(signs: str) -> Callable[[int], str]:
    return lambda count: "".join(secrets.choice(signs) for _ in range(to_int(count)))


def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ExpressionError(f"error parsing regexp: {error}") from None


def _template(text: str) -> str:
    """Go's ``$1`` and ``${name}`` as Python's ``\\g<…>``."""
    escaped = text.replace("\\", "\\\\")
    return re.sub(r"\$(?:\{(\w+)\}|(\w+)|(\$))", lambda m: _group(m), escaped)


def _group(found: re.Match[str]) -> str:
    return "$" if found[3] else f"\\g<{found[1] or found[2]}>"


def _find_all(pattern: str, text: str, count: int = -1) -> list[str]:
    found = [match.group() for match in _pattern(pattern).finditer(text)]
    return found if to_int(count) < 0 else found[: to_int(count)]


def _find(pattern: str, text: str) -> str:
    match = _pattern(pattern).search(text)
    return match.group() if match is not None else ""


def _regex_split(pattern: str, text: str, count: int = -1) -> list[str]:
    count = to_int(count)
    if count == 0:
        return []
    pieces: list[str] = []
    position = 0
    for match in _pattern(pattern).finditer(text):
        if 0 < count <= len(pieces) + 1:
            break
        pieces.append(text[position : match.start()])
        position = match.end()
    return [*pieces, text[position:]]


def _split(separator: str, text: str, count: int = -1) -> dict[str, str]:
    parts = text.split(separator) if count < 0 else text.split(separator, count - 1)
    return {f"_{place}": part for place, part in enumerate(parts)}


def _replaced(pattern: str, text: str, new: str) -> str:
    return _pattern(pattern).sub(_template(new), text)


def _replaced_literally(pattern: str, text: str, new: str) -> str:
    return _pattern(pattern).sub(lambda _: new, text)


_REGEX: Final[dict[str, Callable[..., Any]]] = {
    "regexMatch": lambda pattern, text: _pattern(pattern).search(text) is not None,
    "regexFindAll": _find_all,
    "regexFind": _find,
    "regexReplaceAll": _replaced,
    "regexReplaceAllLiteral": _replaced_literally,
    "regexSplit": _regex_split,
}

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "hello": lambda: "Hello!",
    "abbrev": _abbrev,
    "abbrevboth": _abbrev_both,
    "trunc": _trunc,
    "trim": str.strip,
    "upper": str.upper,
    "lower": str.lower,
    "title": _title,
    "untitle": _untitle,
    "substr": _substr,
    "repeat": lambda count, text: text * max(0, to_int(count)),
    "trimall": lambda signs, text: text.strip(signs),
    "trimAll": lambda signs, text: text.strip(signs),
    "trimSuffix": lambda part, text: text.removesuffix(part),
    "trimPrefix": lambda part, text: text.removeprefix(part),
    "nospace": lambda text: re.sub(r"\s", "", text),
    "initials": _initials,
    "randAlphaNum": _random(string.ascii_letters + string.digits),
    "randAlpha": _random(string.ascii_letters),
    "randAscii": _random("".join(map(chr, range(32, 127)))),
    "randNumeric": _random(string.digits),
    "swapcase": str.swapcase,
    "shuffle": _shuffle,
    "snakecase": lambda text: "_".join(_words(text)).lower(),
    "camelcase": _camel,
    "kebabcase": lambda text: "-".join(_words(text)).lower(),
    "wrap": lambda width, text: _wrap(width, text),
    "wrapWith": lambda width, separator, text: _wrap(width, text, separator, hard=True),
    "contains": lambda part, text: part in text,
    "hasPrefix": lambda part, text: text.startswith(part),
    "hasSuffix": lambda part, text: text.endswith(part),
    "quote": _quote,
    "squote": lambda *values: " ".join(f"'{go_text(v)}'" for v in values if v is not None),
    "cat": lambda *values: " ".join(go_text(v) for v in values if not is_empty(v) or v == 0),
    "indent": _indent,
    "nindent": lambda count, text: "\n" + _indent(count, text),
    "replace": lambda old, new, text: text.replace(old, new),
    "plural": _plural,
    "split": lambda separator, text: _split(separator, text),
    "splitn": lambda separator, count, text: _split(separator, text, to_int(count)),
    "splitList": lambda separator, text: text.split(separator) if separator else list(text),
    "join": lambda separator, parts: separator.join(to_texts(parts)),
    "sortAlpha": lambda parts: sorted(to_texts(parts)),
    "toString": to_text,
    "toStrings": to_texts,
    "regexQuoteMeta": lambda text: re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text),
    **_REGEX,
    **{f"must{name[0].upper()}{name[1:]}": act for name, act in _REGEX.items()},
}
