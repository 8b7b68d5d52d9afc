"""What a list of entities is asked for with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Page", "Parent"]


@dataclass(frozen=True, slots=True)
class Parent:
    """What an entity belongs to."""

    kind: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list, in which order."""

    size: int = 100
    order_by: str = "ID"
    descending: bool = False
    offset: int = 0
