"""Cuts an expression into tokens, and reads literals."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from kubeling.apiserver.cel.errors import CompileError
from kubeling.apiserver.cel.values import MAX_INT, MAX_UINT, MIN_INT, Uint

__all__ = ["Token", "tokenize"]


class Token(NamedTuple):
    """``kind`` is ``literal``, ``ident``, ``end``, or the operator or keyword itself."""

    kind: str
    at: int
    value: Any = None


_STRING: Final = (
    r'"""(?:[^\\]|\\.)*?"""'
    r"|'''(?:[^\\]|\\.)*?'''"
    r'|"(?:[^\\"\n]|\\.)*"'
    r"|'(?:[^\\'\n]|\\.)*'"
)
_RAW: Final = r'"""(?:.)*?"""' r"|'''(?:.)*?'''" r'|"[^"\n]*"' r"|'[^'\n]*'"
_TOKEN: Final = re.compile(
    r"(?P<space>(?:[ \t\r\n\f]|//[^\n]*)+)"
    r"|(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<int>(?:0x[0-9a-fA-F]+|\d+)[uU]?)"
    rf"|(?P<raw>(?:[rR][bB]?|[bB][rR])(?:{_RAW}))"
    rf"|(?P<text>[bB]?(?:{_STRING}))"
    r"|(?P<ident>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<quoted>`[A-Za-z0-9_.\-/ ]+`)"
    r"|(?P<operator>&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]{}])",
    re.DOTALL,
)
_KEYWORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
RESERVED: Final = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})"
    r"|(.))",
    re.DOTALL,
)
_SIMPLE: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    **{mark: mark for mark in "\\?\"'`"},
}


def tokenize(source: str) -> list[Token]:
    """All tokens, an ``end`` last; raises :class:`CompileError`."""
    tokens, at = [], 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            what = f"Syntax error: token recognition error at: '{source[at]}'"
            raise CompileError(source, [(at, what)])
        if (kind := match.lastgroup) != "space":
            try:
                tokens.append(_token(str(kind), match.group(), at))
            except ValueError as error:
                raise CompileError(source, [(at, f"Syntax error: {error}")]) from None
        at = match.end()
    return [*tokens, Token("end", at)]


def _token(kind: str, text: str, at: int) -> Token:
    match kind:
        case "float":
            return Token("literal", at, float(text))
        case "int":
            return Token("literal", at, _integer(text))
        case "text":
            return Token("literal", at, _text(text))
        case "raw":
            return Token("literal", at, _raw(text))
        case "quoted":
            return Token("quoted", at, text[1:-1])
        case "operator" if text != "in":
            return Token(text, at)
    if text in _KEYWORDS:
        return Token("literal", at, _KEYWORDS[text])
    if text == "in":
        return Token("in", at)
    return Token("ident", at, text)


def _integer(text: str) -> int:
    unsigned = text[-1] in "uU"
    value = int(text.rstrip("uU"), 16 if text[:2] == "0x" else 10)
    if unsigned:
        if value > MAX_UINT:
            raise ValueError("invalid uint literal")
        return Uint(value)
    # One more than the largest is read as well: it may follow a minus.
    if value > -MIN_INT:
        raise ValueError("invalid int literal")
    return value


def _unquoted(text: str) -> str:
    width = 3 if text[:3] in ('"""', "'''") else 1
    return text[width:-width]


def _raw(text: str) -> str | bytes:
    prefix = re.match("[rRbB]+", text)
    assert prefix is not None
    body = _unquoted(text[prefix.end() :])
    return body.encode() if "b" in prefix.group().lower() else body


def _text(text: str) -> str | bytes:
    if text[0] in "bB":
        return _bytes(_unquoted(text[1:]))
    return _ESCAPE.sub(_character, _unquoted(text))


def _bytes(body: str) -> bytes:
    parts, at = [], 0
    for match in _ESCAPE.finditer(body):
        parts.append(body[at : match.start()].encode())
        small, big, _, _, octal, _ = match.groups()
        code = small or big
        if code or octal:
            parts.append(bytes([int(code, 16) if code else int(octal, 8)]))
        else:
            parts.append(_character(match).encode())
        at = match.end()
    return b"".join([*parts, body[at:].encode()])


def _character(match: re.Match[str]) -> str:
    *codes, octal, simple = match.groups()
    if simple is not None:
        if simple not in _SIMPLE:
            raise ValueError(f"token recognition error at: '{match.group()}'")
        return _SIMPLE[simple]
    value = int(octal, 8) if octal else int(next(code for code in codes if code), 16)
    if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        raise ValueError("invalid unicode code point")
    return chr(value)


assert MAX_INT == -MIN_INT - 1
