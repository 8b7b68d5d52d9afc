"""What several objectives leave to choose from: trials that no other beats in all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubeling.gateway.trials.model import Goal, Trial
from kubeling.tuning import pareto

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
    best = [rated[place] for place in pareto.front([values for values, _ in rated])]
    return [trial for _, trial in sorted(best, key=lambda entry: entry[0])]
