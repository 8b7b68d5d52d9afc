"""How long a request may take: apart, as model servers start with as few imports as they can."""

from __future__ import annotations

from typing import Final

__all__ = ["USUAL_TIMEOUT"]

USUAL_TIMEOUT: Final = 600.0
"""Seconds that the gateway waits for an answer where ``timeout`` says nothing."""
