"""What an evaluation carries along: its variables and the work it may still do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.apiserver.cel.errors import CostExceeded

__all__ = ["CALL_LIMIT", "REQUEST_LIMIT", "Closure", "Frame", "Meter"]

Frame = list[Any]
"""The meter first, then the variables."""

Closure = Callable[[Frame], Any]

CALL_LIMIT: Final = 1_000_000
"""What one expression may cost, as in Kubernetes; up to a second."""

REQUEST_LIMIT: Final = 2_000_000
"""What all expressions of one request may cost: a fifth of Kubernetes' limit, because they hold
up every other request while they run."""

_PER_UNIT: Final = 10
"""How many characters or items cost as much as one step."""


class Meter:
    """The work that is left; one step is about one node of an expression."""

    __slots__ = ("left",)

    def __init__(self, limit: int = CALL_LIMIT) -> None:
        self.left = limit

    def spend(self, cost: int) -> None:
        """Takes off what is about to be done; raises :class:`CostExceeded`."""
        self.left -= cost
        if self.left < 0:
            raise CostExceeded

    def spend_on(self, values: list[Any]) -> None:
        """Takes off what walking over these values costs."""
        size = sum(len(value) for value in values if isinstance(value, str | bytes | list | dict))
        self.spend(1 + size // _PER_UNIT)
