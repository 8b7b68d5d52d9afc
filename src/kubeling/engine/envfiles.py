"""Files of variables, as ``fileKeyRef`` reads them: ``NAME='value'``, a small part of a shell.

Values are in single quotes and taken as they stand, over several lines too; whatever else could be
meant otherwise is refused. The rules are Kubernetes' (``pkg/kubelet/util/env``).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["EnvFileError", "read_variable"]

_NAME: Final = re.compile(r"[ \t]*([^=\n]*)=")
_IGNORED: Final = re.compile(r"[ \t]*(#[^\n]*)?(\n|$)")


class EnvFileError(Exception):
    """A file that is not of this form; the message says in which line."""


def read_variable(text: str, name: str) -> str | None:
    """The value of the first variable of a name; ``None`` if there is none."""
    position = 0
    while position < len(text):
        if (ignored := _IGNORED.match(text, position)) is not None:
            position = ignored.end()
            continue
        found, value, position = _assignment(text, position)
        if found == name:
            return value
    return None


def _assignment(text: str, position: int) -> tuple[str, str, int]:
    if (match := _NAME.match(text, position)) is None:
        raise _wrong(text, position, "missing '='")
    name = match[1]
    if not name.strip():
        raise _wrong(text, position, "empty variable name")
    if name != name.strip():
        raise _wrong(text, position, "whitespace before '='")
    start = match.end()
    if (nothing := _IGNORED.match(text, start)) is not None:
        return name, "", nothing.end()
    if text[start] in " \t":
        # As in a shell: nothing is assigned, and what follows is not looked at.
        return name, "", _next_line(text, start)
    if text[start] != "'":
        raise _wrong(text, position, "value must be enclosed in single quotes")
    end = text.find("'", start + 1)
    if end < 0:
        raise _wrong(text, position, "unterminated single quote")
    if (rest := _IGNORED.match(text, end + 1)) is None:
        raise _wrong(text, position, "unexpected content after closing quote")
    return name, text[start + 1 : end], rest.end()


def _next_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _wrong(text: str, position: int, what: str) -> EnvFileError:
    line = text.count("\n", 0, position) + 1
    return EnvFileError(f"invalid environment variable format at line {line}: {what}")
