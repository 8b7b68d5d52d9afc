"""What can go wrong with an expression: it cannot be compiled, or it has no value."""

from __future__ import annotations

__all__ = ["CelError", "CompileError", "CostExceeded", "EvalError", "ResultError"]


class CompileError(Exception):
    """The expression cannot be used; ``issues`` are offsets in the source and what is wrong there.

    The text is that of Kubernetes: a line per issue, and the source with a caret below it.
    """

    def __init__(self, source: str, issues: list[tuple[int, str]]) -> None:
        shown = "\n".join(_shown(source, at, what) for at, what in sorted(issues))
        super().__init__(f"compilation failed: {shown}")


class ResultError(CompileError):
    """The expression gives something else than is wanted."""

    def __init__(self, what: str) -> None:
        Exception.__init__(self, what)


class CelError(Exception):
    """An evaluation that ended without a value."""


class EvalError(CelError):
    """The expression has no value for this input (``no such key: x``, ``division by zero``).

    Logic may do without the part that failed: ``false && x`` is false whatever ``x`` is.
    """


class CostExceeded(CelError):
    """The expression did more work than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def _shown(source: str, at: int, what: str) -> str:
    before = source[:at]
    line, column = before.count("\n") + 1, at - (before.rfind("\n") + 1)
    text = source.split("\n")[line - 1].replace("\t", " ")
    return f"ERROR: <input>:{line}:{column + 1}: {what}\n | {text}\n | {'.' * column}^"
