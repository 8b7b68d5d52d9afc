"""An answer of the container, read as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Its status, the headers that go on, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
