"""Keys pressed while something is watched, without waiting for Enter."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

__all__ = ["Keys"]


class Keys:
    """Calls back for each key while it listens; does nothing where there is no terminal."""

    def __init__(self, pressed: Callable[[str], None]) -> None:
        self._pressed = pressed
        self._before: list[object] | None = None

    def listen(self) -> None:
        """Takes keys one by one; ctrl-C stays what it is."""
        if self._before is not None or not sys.stdin.isatty():
            return
        import termios
        import tty

        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        asyncio.get_running_loop().add_reader(sys.stdin, self._read)

    def stop(self) -> None:
        """Gives the terminal back as it was."""
        if self._before is None:
            return
        import termios

        asyncio.get_running_loop().remove_reader(sys.stdin)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        self._before = None

    def _read(self) -> None:
        for key in os.read(sys.stdin.fileno(), 64).decode(errors="ignore"):
            self._pressed(key)
