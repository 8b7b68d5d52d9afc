"""Why a container cannot start yet: the pod waits, says so, and tries again."""

from __future__ import annotations

__all__ = ["NotReady"]


class NotReady(Exception):
    """Why a container cannot start now: its waiting reason and message, and the Event to record."""

    def __init__(self, reason: str, message: str, event: str = "Failed", about: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.event = event
        self.event_message = about or message
