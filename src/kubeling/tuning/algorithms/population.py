"""Population-based training: ``pbt``.

Jaderberg et al., "Population Based Training of Neural Networks" (2017), with the settings, labels
and rules of upstream's ``pkg/suggestion/v1beta1/pbt/service.py``. A generation is as many trials as
the population has. Of the next one, those that follow the worst (``truncation_threshold``) exploit:
they take the parameters of one of the best; all others explore: they take their own, each times 0.8
or 1.2 (a category: its neighbour in the list), or drawn anew with ``resample_probability``. Every
trial starts from a copy of its parent's checkpoint; unlike upstream an exploiting trial's parent is
the one whose parameters it took, for parameters and weights belong together.

A trial's labels tell its generation and parent, so everything follows from the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Final

from kubeling.tuning.algorithms.base import (
    PastTrial,
    Proposal,
    Search,
    TrialState,
    Waiting,
    numbers,
)
from kubeling.tuning.space import Assignments, Categories, Dimension, Interval

__all__ = ["GENERATION", "PARENT", "PopulationSearch"]

GENERATION: Final = "pbt.suggestion.katib.kubeflow.org/generation"
PARENT: Final = "pbt.suggestion.katib.kubeflow.org/parent"
_FACTORS: Final = (0.8, 1.2)


class PopulationSearch:
    """Generations of trials that go on from each other's checkpoints."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._size = int(search.settings["n_population"])
        self._threshold = float(search.settings["truncation_threshold"])
        resample = search.settings.get("resample_probability")
        self._resample = float(resample) if resample else None

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next member of the youngest generation that is not complete."""
        source = Random(f"{self._search.seed}/{len(history)}")
        generations = _generations(history)
        for number, members in enumerate(generations):
            # A trial that failed has no checkpoint and no figure: another takes its place.
            alive = [m for m in members if m.state is not TrialState.FAILED]
            if len(alive) < self._size:
                return self._member(number, len(alive), generations, source)
        last = generations[-1] if generations else []
        if any(member.state is TrialState.RUNNING for member in last):
            raise Waiting(f"generation {len(generations) - 1} is under way")
        return self._member(len(generations), 0, generations, source)

    def _member(
        self, number: int, place: int, generations: Sequence[list[PastTrial]], source: Random
    ) -> Proposal:
        if number == 0:
            drawn = {d.name: d.at(source.random()) for d in self._search.space}
            return Proposal(drawn, {GENERATION: "0"})
        ranked = self._ranked(generations[number - 1])
        labels = {GENERATION: str(number)}
        if not ranked:
            return Proposal({d.name: d.at(source.random()) for d in self._search.space}, labels)
        parent = ranked[place % len(ranked)]
        worst = int(len(ranked) * self._threshold)
        if worst and place % len(ranked) >= len(ranked) - worst:
            parent = source.choice(ranked[:worst])
            return Proposal(dict(parent.assignments), {**labels, PARENT: parent.name})
        explored = self._explored(parent.assignments, source)
        return Proposal(explored, {**labels, PARENT: parent.name})

    def _ranked(self, members: Sequence[PastTrial]) -> list[PastTrial]:
        """A generation's trials that measured something, the best first."""
        rated = [
            (found[0], place, past)
            for place, past in enumerate(members)
            if (found := numbers(self._search, past)) is not None
        ]
        return [past for _, _, past in sorted(rated, key=lambda entry: entry[:2])]

    def _explored(self, assignments: Assignments, source: Random) -> Assignments:
        explored: Assignments = {}
        for dimension in self._search.space:
            value = assignments[dimension.name]
            if self._resample is None:
                explored[dimension.name] = _perturbed(dimension, value, source)
            elif source.random() < self._resample:
                explored[dimension.name] = dimension.at(source.random())
            else:
                explored[dimension.name] = value
        return explored


def _generations(history: Sequence[PastTrial]) -> list[list[PastTrial]]:
    found: list[list[PastTrial]] = []
    for past in history:
        number = int(past.labels.get(GENERATION, "0"))
        while len(found) <= number:
            found.append([])
        found[number].append(past)
    return found


def _perturbed(dimension: Dimension, value: str, source: Random) -> str:
    if isinstance(dimension, Interval):
        return dimension.nearest(float(Decimal(value)) * source.choice(_FACTORS))
    if isinstance(dimension, Categories):
        place = dimension.values.index(value) + source.choice((-1, 1))
        return dimension.values[place % dimension.count]
    return value
