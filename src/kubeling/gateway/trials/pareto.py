"""What several objectives leave to choose from: trials that no other beats in all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubeling.gateway.trials.model import Goal, Trial

__all__ = ["front"]


def front(trials: Sequence[Trial], goals: Sequence[Goal]) -> list[Trial]:
    """The trials that are not dominated, the best by the first goal first."""
    signs = [1 if goal.direction == "minimize" else -1 for goal in goals]
    rated: list[tuple[tuple[float, ...], Trial]] = []
    for trial in trials:
        known = [trial.metrics[goal.metric] for goal in goals if goal.metric in trial.metrics]
        if trial.measured and len(known) == len(goals):
            values = tuple(sign * value for sign, value in zip(signs, known, strict=True))
            rated.append((values, trial))
    rated.sort(key=lambda entry: entry[0])
    kept: list[tuple[tuple[float, ...], Trial]] = []
    for values, trial in rated:
        # Sorted by the first goal, only what is kept already can be better in all.
        if not any(_dominates(other, values) for other, _ in kept):
            kept.append((values, trial))
    return [trial for _, trial in kept]


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one is nowhere worse and somewhere better; less is better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
