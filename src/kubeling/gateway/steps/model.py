"""Steps and the groups they lie in: one form for runs of pipelines and for workflows. Pure.

A group is a nested DAG, a loop or one of its iterations. Edges join siblings only: what waits for
something inside a group waits for the group, so that a group can be drawn shut or open without
another look at the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

__all__ = ["BAD", "BUSY", "FINAL", "STATES", "Kind", "Step", "StepTree"]

Kind = Literal["step", "dag", "loop", "iteration", "retry", "fold"]

STATES: Final = (
    "failed", "error", "running", "pending", "suspended", "waiting", "canceled", "succeeded",
    "cached", "skipped", "omitted",
)  # fmt: skip
"""All states, those that most want attention first."""
BAD: Final = frozenset({"failed", "error"})
BUSY: Final = frozenset({"running", "pending", "suspended"})
FINAL: Final = frozenset(
    {"failed", "error", "canceled", "succeeded", "cached", "skipped", "omitted"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step or group. Times are seconds since 1970; ``after`` are siblings it waits for.

    ``cache`` says in words what the cache answered, where that is known.
    """

    id: str
    label: str
    state: str
    kind: Kind = "step"
    parent: str = ""
    after: tuple[str, ...] = ()
    created: float | None = None
    started: float | None = None
    finished: float | None = None
    attempts: int = 1
    cache: str = ""

    @property
    def is_group(self) -> bool:
        return self.kind != "step"


class StepTree:
    """The steps of a run by id and by group, in the order given."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.by_id = {step.id: step for step in steps}
        self._children: dict[str, list[Step]] = {}
        for step in self.by_id.values():
            inside = step.parent if step.parent in self.by_id else ""
            self._children.setdefault(inside, []).append(step)
        self._tallies: dict[str, Counter[str]] = {}

    def __len__(self) -> int:
        return len(self.by_id)

    def children(self, group: str = "") -> Sequence[Step]:
        """What lies in a group; at the top without one."""
        return self._children.get(group, ())

    def leaves(self, group: str = "") -> Iterator[Step]:
        """The steps proper, and groups with nothing in them yet, in order."""
        stack = [iter(self.children(group))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
            elif inside := self._children.get(step.id):
                stack.append(iter(inside))
            else:
                yield step

    def tally(self, group: str = "") -> Counter[str]:
        """How many leaves below a group are in each state."""
        found = self._tallies.get(group)
        if found is None:
            found = Counter()
            for child in self.children(group):
                if child.id in self._children:
                    found.update(self.tally(child.id))
                else:
                    found[child.state] += 1
            self._tallies[group] = found
        return found

    def above(self, step: Step) -> Iterator[Step]:
        """The groups around a step, the innermost first."""
        while (around := self.by_id.get(step.parent)) is not None:
            yield around
            step = around

    def matching(self, wanted: Callable[[Step], bool]) -> list[Step]:
        """The leaves that are wanted."""
        return [step for step in self.leaves() if wanted(step)]

    @cached_property
    def critical(self) -> frozenset[str]:
        """The path that took longest: from the last step to end back to what it waited for last.

        Only what ended last in each group counts, so shortening any step of it shortens the run.
        """
        found: set[str] = set()
        groups = [""]
        while groups:
            siblings = {s.id: s for s in self.children(groups.pop()) if s.started is not None}
            step = max(siblings.values(), key=_ended, default=None)
            while step is not None and step.id not in found:
                found.add(step.id)
                if step.id in self._children:
                    groups.append(step.id)
                before = (siblings[a] for a in step.after if a in siblings)
                step = max(before, key=_ended, default=None)
        return frozenset(found)

    @cached_property
    def span(self) -> tuple[float, float] | None:
        """From the first beginning to the last end, if anything has begun."""
        begun = [s.started for s in self.by_id.values() if s.started is not None]
        if not begun:
            return None
        ended = [s.finished for s in self.by_id.values() if s.finished is not None]
        return min(begun), max([*ended, *begun])


def _ended(step: Step) -> float:
    return step.finished if step.finished is not None else float("inf")
