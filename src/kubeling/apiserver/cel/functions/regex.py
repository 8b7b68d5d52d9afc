"""Regular expressions in RE2's syntax, matched in time linear to the text.

Python's own engine takes exponential time for some patterns, and a pattern comes from whoever
may write a definition; so these go through RE2 itself, which is also what Kubernetes' users write
for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.library import Library

__all__ = ["REGEX", "compile_pattern"]

REGEX: Final = Library()
define = REGEX.define


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Any:
    """The compiled pattern; raises :class:`EvalError`."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise EvalError(f"error parsing regexp: {text}") from None


@define("string.matches(string) -> bool", "matches(string, string) -> bool", linear=True)
def _matches(text: str, pattern: str) -> bool:
    return compile_pattern(pattern).search(text) is not None


@define("string.find(string) -> string", linear=True)
def _find(text: str, pattern: str) -> str:
    match = compile_pattern(pattern).search(text)
    return str(match.group()) if match is not None else ""


@define("string.findAll(string) -> list(string)", linear=True)
def _find_all(text: str, pattern: str) -> list[str]:
    return [str(match.group()) for match in compile_pattern(pattern).finditer(text)]


@define("string.findAll(string, int) -> list(string)", linear=True)
def _find_some(text: str, pattern: str, limit: int) -> list[str]:
    found = _find_all(text, pattern)
    return found if limit < 0 else found[:limit]
