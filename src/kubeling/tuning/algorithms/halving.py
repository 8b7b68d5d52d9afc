"""Successive halving: many configurations with little of a resource, the best of them with more.

``hyperband`` runs brackets of it that begin with ever fewer configurations and ever more of the
resource (Li et al., 2018). Upstream's refuses to start below a certain ``parallelTrialCount`` and
its controller refuses the shorter answers that halving is made of; here a bracket's next rung
begins when its last one has ended, meanwhile the next bracket begins, and any
``parallelTrialCount`` will do. ``asha`` never waits: a configuration goes on as soon as it is among
the best of those that got as far (Li et al., 2020).

A trial's labels tell its bracket, its rung and the configuration it goes on with, so everything
follows from the history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from kubeling.tuning.algorithms.base import (
    Exhausted,
    PastTrial,
    Proposal,
    Search,
    TrialState,
    Waiting,
    numbers,
)
from kubeling.tuning.space import Assignments

__all__ = ["AshaSearch", "HyperbandSearch", "brackets"]

_BRACKET: Final = "halving.suggestion.kubeling.io/bracket"
_RUNG: Final = "halving.suggestion.kubeling.io/rung"
_CONFIGURATION: Final = "halving.suggestion.kubeling.io/configuration"
_ETA: Final = "3"


@dataclass(frozen=True, slots=True)
class Bracket:
    """How many configurations each rung has, and how much of the resource they get."""

    sizes: tuple[int, ...]
    resources: tuple[float, ...]


def brackets(most: float, eta: float) -> list[Bracket]:
    """Hyperband's brackets, the widest first."""
    # Rounded before it is cut off: the logarithm of a power can come out a little too small.
    top = int(round(math.log(most) / math.log(eta), 9)) if most > 1 else 0
    found = []
    for s in range(top, -1, -1):
        count = math.ceil((top + 1) * eta**s / (s + 1))
        sizes = tuple(max(int(count * eta**-i), 1) for i in range(s + 1))
        found.append(Bracket(sizes, tuple(most * eta ** (i - s) for i in range(s + 1))))
    return found


@dataclass
class _Rung:
    """The trials of one rung by configuration."""

    trials: dict[str, PastTrial] = field(default_factory=dict)

    def ended(self) -> bool:
        return all(past.state is not TrialState.RUNNING for past in self.trials.values())

    def best_first(self, search: Search) -> list[str]:
        """The configurations that measured something."""
        rated = [
            (found[0], place, name)
            for place, (name, past) in enumerate(self.trials.items())
            if (found := numbers(search, past)) is not None
        ]
        return [name for _, _, name in sorted(rated)]


class Halving:
    """What both have in common: rungs read from labels, configurations drawn and taken on."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._resource = search.settings["resource_name"]

    def _rungs(self, history: Sequence[PastTrial]) -> dict[tuple[int, int], _Rung]:
        rungs: dict[tuple[int, int], _Rung] = {}
        for past in history:
            if _CONFIGURATION in past.labels:
                place = int(past.labels[_BRACKET]), int(past.labels[_RUNG])
                rung = rungs.setdefault(place, _Rung())
                rung.trials[past.labels[_CONFIGURATION]] = past
        return rungs

    def _fresh(self, index: int, bracket: int, resource: float) -> Proposal:
        source = Random(f"{self._search.seed}/{index}")
        drawn = {d.name: d.at(source.random()) for d in self._search.space}
        return self._proposal(drawn, bracket, 0, str(index), resource)

    def _proposal(
        self, point: Assignments, bracket: int, rung: int, configuration: str, resource: float
    ) -> Proposal:
        labels = {_BRACKET: str(bracket), _RUNG: str(rung), _CONFIGURATION: configuration}
        return Proposal({**point, self._resource: str(max(int(resource + 1e-9), 1))}, labels)


class HyperbandSearch(Halving):
    """Every bracket once, as upstream; then the search has ended."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        eta = float(search.settings.get("eta") or _ETA)
        eta = eta if eta > 1 else float(_ETA)
        self._brackets = brackets(float(search.settings["r_l"]), eta)

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next configuration of the first bracket that can go on."""
        rungs = self._rungs(history)
        waiting = False
        for number, bracket in enumerate(self._brackets):
            for place, size in enumerate(bracket.sizes):
                rung = rungs.get((number, place), _Rung())
                if place == 0:
                    if len(rung.trials) < size:
                        return self._fresh(len(history), number, bracket.resources[0])
                    continue
                before = rungs[number, place - 1]
                if not before.ended():
                    waiting = True
                    break
                chosen = before.best_first(self._search)[:size]
                for name in chosen:
                    if name not in rung.trials:
                        point = before.trials[name].assignments
                        return self._proposal(point, number, place, name, bracket.resources[place])
                if not chosen:
                    break
        if waiting:
            raise Waiting("the rungs under way decide which configurations go on")
        raise Exhausted


class AshaSearch(Halving):
    """One bracket without end."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        settings = search.settings
        self._eta = float(settings.get("reduction_factor") or _ETA)
        self._least = float(settings.get("min_resource") or 1)
        most = float(settings["max_resource"])
        top = int(round(math.log(most / self._least) / math.log(self._eta), 9))
        self._top = max(top, 0)

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """A configuration that goes on, from the highest rung down, or a new one."""
        rungs = self._rungs(history)
        for place in range(self._top - 1, -1, -1):
            rung, above = rungs.get((0, place), _Rung()), rungs.get((0, place + 1), _Rung())
            ranked = rung.best_first(self._search)
            for name in ranked[: int(len(ranked) / self._eta)]:
                if name not in above.trials:
                    resource = self._least * self._eta ** (place + 1)
                    point = rung.trials[name].assignments
                    return self._proposal(point, 0, place + 1, name, resource)
        return self._fresh(len(history), 0, self._least)
