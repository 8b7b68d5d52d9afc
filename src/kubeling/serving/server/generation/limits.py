"""How much a model that makes text does at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Limited", "Limits"]


@dataclass(frozen=True)
class Limits:
    """How many texts grow at once, and how many may wait."""

    growing: int = 8
    waiting: int = 64


@runtime_checkable
class Limited(Protocol):
    """A model whose limits can be set before it is loaded."""

    limits: Limits
    max_length: int | None
