"""What every expression language raises."""

from __future__ import annotations

__all__ = ["ExpressionError"]


class ExpressionError(ValueError):
    """An expression cannot be read or computed; the message says why, without the expression."""
