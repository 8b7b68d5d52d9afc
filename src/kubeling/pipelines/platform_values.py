"""How settings of a platform spec get their values, and how they are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["SettingsError", "Value"]

Value = Callable[[Mapping[str, Any]], Any]
"""Resolves a parameter source (constant, component input or task output); ``None`` for null."""


class SettingsError(ValueError):
    """A setting of the platform spec cannot be met; the message names it."""
