"""Why something cannot be done to a Workflow."""

from __future__ import annotations

__all__ = ["OperationRefused"]


class OperationRefused(ValueError):
    """The Workflow is not in a state for it, or the request is wrong; the message says which."""
