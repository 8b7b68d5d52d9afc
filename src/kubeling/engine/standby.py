"""A supervisor and a fork of a template that wait for the next container.

Where one Python command follows another, as in a pipeline, most of what a start takes can be done
before the command is known, while the one before it runs: the supervisor's process with its
namespaces, and the two forks that lead to the command, in its process ids. They wait for what they
are to become as they would for the walls, and end if nobody wants them within a few seconds, so
that a command is not much older than its container.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

from kubeling.engine.launcher import Launcher, LaunchError

__all__ = ["Standby"]

log = logging.getLogger(__name__)

_SECONDS: Final = 3.0


class Standby:
    """At most one, for one template. All methods belong to one event loop."""

    def __init__(self, launcher: Launcher, template: socket.socket) -> None:
        self._launcher = launcher
        self._template = template
        self._waiting: socket.socket | None = None
        self._namespaces = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waits(self) -> bool:
        """Whether one waits."""
        return self._waiting is not None

    def prepare(self, namespaces: int) -> None:
        """Has one wait for a container in such namespaces, if none waits."""
        if self._waiting is not None or self._closed:
            return
        try:
            self._waiting = self._launcher.stand_by(namespaces, self._template.fileno())
        except (LaunchError, OSError) as error:
            log.debug("nobody stands by: %s", error)  # the next one is started from the beginning
            return
        self._namespaces = namespaces
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._drop)

    def take(self, namespaces: int) -> socket.socket | None:
        """The way to the one that waits, if it suits; whoever takes it closes it."""
        if namespaces != self._namespaces:
            return None
        waiting, self._waiting = self._waiting, None
        self._stop_timer()
        return waiting

    def close(self) -> None:
        """Lets it end, and has no other."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        self._stop_timer()
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
