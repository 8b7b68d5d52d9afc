"""What parts of the server have to say about the request that they work for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["annotate", "collected"]

collected: Final[ContextVar[dict[str, str] | None]] = ContextVar("audit annotations", default=None)
"""Where annotations of the present request go; nowhere without an audit log."""


def annotate(key: str, value: str) -> None:
    """Adds an annotation to the request's audit event, if there is one."""
    if (annotations := collected.get()) is not None:
        annotations[key] = value
