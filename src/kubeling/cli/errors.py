"""What a command says when it cannot go on: one line, and a hint where there is one."""

from __future__ import annotations

__all__ = ["CliError"]


class CliError(Exception):
    """Ends the command with ``message`` on one line and the given exit code."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
