"""The tree-structured Parzen estimator, through Optuna.

The study is rebuilt from the history for every point, so there is nothing to lose in a restart.
Trials under way count as bad ones meanwhile (the constant liar), so a batch is spread out instead
of repeating one point; failed trials count as worse than every complete one, so their
neighbourhood is left.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from kubeling.tuning.algorithms.base import PastTrial, Search, TrialState
from kubeling.tuning.space import Assignments, Categories, Dimension

__all__ = ["TPE", "MultivariateTPE"]

_STATES: Final = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.FAILED: OptunaState.PRUNED,
}
_MOST_GOOD_TRIALS: Final = 25

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TPE:
    """Every parameter is modelled on its own."""

    heavy = True
    multivariate = False

    def __init__(self, search: Search) -> None:
        self._search = search
        self._distributions = {d.name: _distribution(d) for d in search.space}

    def suggest(self, history: Sequence[PastTrial]) -> Assignments:
        """The next point."""
        study = optuna.create_study(
            direction="minimize" if self._search.minimize else "maximize",
            sampler=self._sampler(len(history)),
        )
        study.add_trials([t for past in history if (t := self._trial(past)) is not None])
        asked = study.ask(self._distributions)
        return {d.name: _text(d, asked.params[d.name]) for d in self._search.space}

    def _sampler(self, index: int) -> optuna.samplers.TPESampler:
        settings = self._search.settings
        chosen: dict[str, Any] = {}
        if "n_startup_trials" in settings:
            chosen["n_startup_trials"] = int(settings["n_startup_trials"])
        candidates = settings.get("n_EI_candidates") or settings.get("n_ei_candidates")
        if candidates:
            chosen["n_ei_candidates"] = int(candidates)
        if "gamma" in settings:
            chosen["gamma"] = _gamma(float(settings["gamma"]))
        if "prior_weight" in settings:
            chosen["prior_weight"] = float(settings["prior_weight"])
        return optuna.samplers.TPESampler(
            seed=_seed(self._search.seed, index),
            constant_liar=True,
            multivariate=self.multivariate,
            **chosen,
        )

    def _trial(self, past: PastTrial) -> FrozenTrial | None:
        """The trial as Optuna keeps it; ``None`` where it lies outside the space."""
        params: dict[str, Any] = {}
        for dimension in self._search.space:
            value = _value(dimension, past.assignments.get(dimension.name))
            if value is None or not self._distributions[dimension.name]._contains(
                self._distributions[dimension.name].to_internal_repr(value)
            ):
                return None
            params[dimension.name] = value
        state = past.state
        if state is TrialState.COMPLETE and (past.value is None or math.isnan(past.value)):
            state = TrialState.FAILED
        return optuna.trial.create_trial(
            params=params,
            distributions=self._distributions,
            value=past.value if state is TrialState.COMPLETE else None,
            state=_STATES[state],
        )


class MultivariateTPE(TPE):
    """Parameters are modelled together, so their interplay is learnt."""

    multivariate = True


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Categories):
        if dimension.ordered:
            return IntDistribution(0, dimension.count - 1)
        return CategoricalDistribution(dimension.values)
    low, high = dimension.low, dimension.high
    if dimension.integer:
        # Optuna's logarithmic integers have no step.
        step = 1 if dimension.logarithmic else int(dimension.step or 1)
        return IntDistribution(int(low), int(high), log=dimension.logarithmic, step=step)
    step_size = None if dimension.step is None or dimension.logarithmic else float(dimension.step)
    return FloatDistribution(float(low), float(high), log=dimension.logarithmic, step=step_size)


def _value(dimension: Dimension, text: str | None) -> Any:
    """A value as Optuna keeps it."""
    if text is None:
        return None
    if isinstance(dimension, Categories):
        if text not in dimension.values:
            return None
        return dimension.sorted_values.index(text) if dimension.ordered else text
    return int(text) if dimension.integer else float(text)


def _text(dimension: Dimension, value: Any) -> str:
    if isinstance(dimension, Categories):
        return dimension.sorted_values[value] if dimension.ordered else str(value)
    return dimension.nearest(value)


def _gamma(gamma: float) -> Callable[[int], int]:
    def good_trials(count: int) -> int:
        return min(math.ceil(gamma * math.sqrt(count)), _MOST_GOOD_TRIALS)

    return good_trials


def _seed(seed: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:4], "big")
