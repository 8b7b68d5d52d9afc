"""CMA-ES, through the library ``cmaes``.

The history is read in generations: as many points as a generation has, in the order they were
proposed. A generation is told when all of its trials have ended, failed ones as worse than all
others, and moves the distribution that later points are drawn from. Points asked for before that
are drawn from the distribution as it is. Categories have no distances and are drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np
from cmaes import CMA

from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search, TrialState, numbers
from kubeling.tuning.algorithms.cube import Cube
from kubeling.tuning.algorithms.evidence import generator
from kubeling.tuning.space import Categories

__all__ = ["CmaesSearch"]

_SIGMA: Final = "0.25"
_GROWTH: Final = 2


class CmaesSearch:
    """One distribution, restarted with larger generations where the user asks for it."""

    def __init__(self, search: Search) -> None:
        self._search = search
        ordered = [d for d in search.space if not isinstance(d, Categories) or d.ordered]
        self._cube = Cube(ordered)
        # A step of none would never move: upstream's 0 means the default.
        self._sigma = float(search.settings.get("sigma") or _SIGMA) or float(_SIGMA)
        self._restarts = search.settings.get("restart_strategy", "none").lower() != "none"
        self._told: tuple[PastTrial, ...] = ()
        self._cma = self._begin(1)

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next point."""
        self._catch_up(history)
        index = len(history)
        self._cma.reseed_rng(int(generator(self._search.seed, index).integers(2**31)))
        moved = self._cube.assignments(self._cma.ask())
        drawn = Random(f"{self._search.seed}/{index}")
        return Proposal(
            {d.name: moved.get(d.name) or d.at(drawn.random()) for d in self._search.space}
        )

    def _catch_up(self, history: Sequence[PastTrial]) -> None:
        """Tells every generation that has ended, from the start where what was told changed."""
        if tuple(history[: len(self._told)]) != self._told:
            self._told, self._cma = (), self._begin(1)
        while True:
            place, size = len(self._told), int(self._cma.population_size)
            block = tuple(history[place : place + size])
            if len(block) < size or any(past.state is TrialState.RUNNING for past in block):
                return
            self._tell(block)
            self._told += block
            if self._restarts and self._cma.should_stop():
                self._cma = self._begin(size * _GROWTH)

    def _tell(self, block: Sequence[PastTrial]) -> None:
        found = [numbers(self._search, past) for past in block]
        known = [f[0] for f in found if f is not None and math.isfinite(f[0])]
        worst = max(known, default=0.0)
        penalty = worst + max(abs(worst), 1.0)
        losses = [f[0] if f is not None and math.isfinite(f[0]) else penalty for f in found]
        points = [self._cube.point(past.assignments) for past in block]
        self._cma.tell(list(zip(points, losses, strict=True)))

    def _begin(self, population: int) -> CMA:
        size = self._cube.size
        first = population == 1
        place = generator(self._search.seed, population, "restart").random(size)
        return CMA(
            mean=np.full(size, 0.5) if first else place,
            sigma=self._sigma,
            bounds=np.column_stack([np.zeros(size), np.ones(size)]),
            population_size=None if first else population,
            seed=0,
        )
