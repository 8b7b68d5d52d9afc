"""The contract of a search algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from kubeling.tuning.space import Assignments, Dimension

__all__ = [
    "Algorithm",
    "Exhausted",
    "PastTrial",
    "Proposal",
    "Search",
    "TrialState",
    "Waiting",
    "numbers",
]


class TrialState(Enum):
    """What is known of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PastTrial:
    """A point proposed earlier, and what became of it.

    ``value`` is the objective's, of complete trials only; trials stopped early count as complete.
    ``values`` are those of all objectives, the first among them, and ``violations`` says by how
    much each constraint is broken (0 or less: it holds). ``name`` and ``labels`` are the trial's.
    """

    assignments: Assignments
    state: TrialState
    value: float | None = None
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: the space, the direction, the algorithm's settings, and a seed.

    ``seed`` is the ``random_state`` the user set, or one that differs between experiments and
    never changes for one. ``minimize`` is about the objective, ``also_minimize`` about the
    further ones; ``nas`` is the experiment's ``nasConfig``.
    """

    space: tuple[Dimension, ...]
    minimize: bool
    settings: Mapping[str, str]
    seed: str
    also_minimize: tuple[bool, ...] = ()
    nas: Mapping[str, Any] = field(default_factory=dict)

    @property
    def signs(self) -> tuple[float, ...]:
        """What to multiply each objective by so that less is better."""
        return tuple(1.0 if low else -1.0 for low in (self.minimize, *self.also_minimize))


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next point, with labels for its trial where the algorithm has something to say."""

    assignments: Assignments
    labels: Mapping[str, str] = field(default_factory=dict)


class Exhausted(Exception):
    """There are no points left to propose."""


class Waiting(Exception):
    """The next point depends on trials that are still running."""


class Algorithm(Protocol):
    """Proposes points.

    ``propose`` is a function of its arguments: the same search and history give the same point,
    in this process or another, today or after a restart. An instance may remember what it
    derived from an earlier history to be quick, never to decide. The history holds every point
    proposed so far, in order, and a batch is asked for one by one, each point known to the next
    as running. It raises :class:`Exhausted` when it has none left and :class:`Waiting` when it
    has none now. One thread at a time asks an instance.
    """

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next point."""
        ...


def numbers(search: Search, past: PastTrial) -> tuple[float, ...] | None:
    """A trial's objectives turned so that less is better; ``None`` where it has none."""
    if past.state is not TrialState.COMPLETE or past.value is None:
        return None
    values = past.values or (past.value,)
    return tuple(sign * value for sign, value in zip(search.signs, values, strict=False))
