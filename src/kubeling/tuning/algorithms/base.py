"""The contract of a search algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kubeling.tuning.space import Assignments, Dimension

__all__ = ["Algorithm", "Exhausted", "PastTrial", "Search", "TrialState"]


class TrialState(Enum):
    """What is known of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PastTrial:
    """A point proposed earlier; ``value`` is the objective's, of complete trials only."""

    assignments: Assignments
    state: TrialState
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: the space, the direction, the algorithm's settings, and a seed.

    ``seed`` is the ``random_state`` the user set, or one that differs between experiments and
    never changes for one.
    """

    space: tuple[Dimension, ...]
    minimize: bool
    settings: dict[str, str]
    seed: str


class Exhausted(Exception):
    """There are no points left to propose."""


class Algorithm(Protocol):
    """Proposes points.

    ``suggest`` is a function of its arguments: the same search and history give the same point,
    in this process or another, today or after a restart. The history holds every point proposed so
    far, in order. It raises :class:`Exhausted` when it has none left. ``heavy`` ones are called
    off the event loop.
    """

    heavy: bool

    def suggest(self, history: Sequence[PastTrial]) -> Assignments:
        """The next point."""
        ...
