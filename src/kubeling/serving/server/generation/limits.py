"""How much a model that makes text does at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Limited", "Limits"]


@dataclass(frozen=True)
class Limits:
    """How many texts grow at once, how many may wait, and what a step and the memory hold."""

    growing: int = 16
    waiting: int = 64
    step: int = 512
    """Tokens read in a step at most."""
    memory: int = 4 << 30
    """Bytes for what is kept of texts."""


@runtime_checkable
class Limited(Protocol):
    """A model whose limits can be set before it is loaded."""

    limits: Limits
    max_length: int | None
    tool_calls: str | None
    """How it writes calls of tools, where its chat template does not tell."""
