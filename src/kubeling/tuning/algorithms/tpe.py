"""The tree-structured Parzen estimator, through Optuna.

Trials under way count as bad ones meanwhile (the constant liar), so a batch is spread out instead
of repeating one point; failed trials count as worse than every complete one, so their
neighbourhood is left. The study follows the history from ask to ask and is built anew where it
cannot, so there is nothing to lose in a restart.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import warnings
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

from kubeling.tuning.algorithms.base import (
    PastTrial,
    Proposal,
    Search,
    TrialState,
)
from kubeling.tuning.space import Categories, Dimension, Interval

__all__ = ["TPE", "MultivariateTPE"]

_STATES: Final = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.FAILED: OptunaState.PRUNED,
}
_MOST_GOOD_TRIALS: Final = 25
_WHOLE: Final = 150
_LATEST: Final = 75
_STEP: Final = 25
_MOST_WEIGHED: Final = 64

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TPE:
    """Every parameter is modelled on its own."""

    multivariate = False

    def __init__(self, search: Search) -> None:
        self._search = search
        self._distributions = {d.name: _distribution(d) for d in search.space}
        self._study = self._new_study()
        self._known: list[PastTrial] = []
        self._numbers: list[int | None] = []

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next point."""
        relevant = _relevant(self._search, history)
        self._follow(relevant)
        self._study.sampler = self._sampler(len(history), len(relevant) < len(history))
        asked = self._study.ask(self._distributions)
        # The history will tell of this point; a trial that failed is none to Optuna's TPE.
        self._study.tell(asked, state=OptunaState.FAIL)
        return Proposal({d.name: _text(d, asked.params[d.name]) for d in self._search.space})

    def _follow(self, history: Sequence[PastTrial]) -> None:
        """Brings the study to where the history is."""
        for place, (known, now) in enumerate(zip(self._known, history, strict=False)):
            if known == now:
                continue
            if known.state is not TrialState.RUNNING or known.assignments != now.assignments:
                self._study, self._known, self._numbers = self._new_study(), [], []
                break
            if now.state is TrialState.RUNNING:
                self._known[place] = now  # Only now has it the name of its trial.
                continue
            self._tell(place, now)
        if len(history) < len(self._known):
            self._study, self._known, self._numbers = self._new_study(), [], []
        for past in history[len(self._known) :]:
            trial = self._trial(past)
            self._known.append(past)
            self._numbers.append(None if trial is None else len(self._study.get_trials(False)))
            if trial is not None:
                self._study.add_trial(trial)

    def _tell(self, place: int, now: PastTrial) -> None:
        """A trial that was under way has ended."""
        number, state = self._numbers[place], _state(now)
        self._known[place] = now
        if number is not None:
            value = now.value if state is TrialState.COMPLETE else None
            self._study.tell(number, value, state=_STATES[state])

    def _new_study(self) -> optuna.Study:
        return optuna.create_study(direction="minimize" if self._search.minimize else "maximize")

    def _sampler(self, index: int, shortened: bool) -> _Sampler:
        settings = self._search.settings
        chosen: dict[str, Any] = {}
        if "n_startup_trials" in settings:
            chosen["n_startup_trials"] = int(settings["n_startup_trials"])
        candidates = settings.get("n_EI_candidates") or settings.get("n_ei_candidates")
        if candidates:
            chosen["n_ei_candidates"] = max(int(candidates), 1)
        good: Callable[[int], int] = _good_trials
        if "gamma" in settings:
            good = _gamma(float(settings["gamma"]))
        if shortened:
            # As many are good as if the study held every trial.
            good = _always(good(index))
        chosen["gamma"] = good
        if "prior_weight" in settings:
            chosen["prior_weight"] = float(settings["prior_weight"])
        with warnings.catch_warnings():
            # Hyperopt's settings are upstream's to give, however Optuna feels about them.
            warnings.simplefilter("ignore", FutureWarning)
            return _Sampler(
                self._distributions,
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
        state = _state(past)
        return optuna.trial.create_trial(
            params=params,
            distributions=self._distributions,
            value=past.value if state is TrialState.COMPLETE else None,
            state=_STATES[state],
        )


class MultivariateTPE(TPE):
    """Parameters are modelled together, so their interplay is learnt."""

    multivariate = True


def _relevant(search: Search, history: Sequence[PastTrial]) -> list[PastTrial]:
    """Of a long history the latest trials and the best before them.

    TPE gives old trials little weight, and its good ones are 25 at most; all of a thousand would
    take ten times as long. What counts as the latest moves on in steps, and the study with it.
    """
    if len(history) <= _WHOLE:
        return list(history)
    cut = (len(history) - _LATEST) // _STEP * _STEP
    sign = search.signs[0]
    rated = [
        (sign * past.value, place)
        for place, past in enumerate(history[:cut])
        if past.state is TrialState.COMPLETE
        and past.value is not None
        and math.isfinite(past.value)
    ]
    best = sorted(place for _, place in heapq.nsmallest(_MOST_GOOD_TRIALS, rated))
    return [*(history[place] for place in best), *history[cut:]]


class _Sampler(optuna.samplers.TPESampler):
    """Knows the space, which Optuna's would read out of all trials again for every point."""

    def __init__(self, space: dict[str, BaseDistribution], **options: Any) -> None:
        super().__init__(**options)
        together = options["multivariate"]
        self._together = {n: d for n, d in space.items() if not d.single()} if together else {}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._together)


def _state(past: PastTrial) -> TrialState:
    if past.state is TrialState.COMPLETE and (past.value is None or math.isnan(past.value)):
        return TrialState.FAILED
    return past.state


def _by_share(dimension: Interval) -> bool:
    """Whether shares of a distribution are searched instead of its values.

    Optuna has no such distribution, or weighs each of its many whole numbers one by one in Python.
    """
    if dimension.distribution in ("normal", "logNormal"):
        return True
    if (dimension.count or 0) > _MOST_WEIGHED:
        return True
    steps = 1 if dimension.integer else None
    return dimension.logarithmic and dimension.step is not None and dimension.step != steps


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Categories):
        if dimension.ordered:
            return IntDistribution(0, dimension.count - 1)
        return CategoricalDistribution(dimension.values)
    if _by_share(dimension):
        return FloatDistribution(0.0, 1.0)
    low, high, log = dimension.low, dimension.high, dimension.logarithmic
    if dimension.integer:
        return IntDistribution(int(low), int(high), log=log, step=int(dimension.step or 1))
    step_size = None if dimension.step is None else float(dimension.step)
    return FloatDistribution(float(low), float(high), log=log, step=step_size)


def _value(dimension: Dimension, text: str | None) -> Any:
    """A value as Optuna keeps it."""
    if text is None:
        return None
    if isinstance(dimension, Categories):
        if text not in dimension.values:
            return None
        return dimension.places[text] if dimension.ordered else text
    try:
        if _by_share(dimension):
            return dimension.share(float(text))
        return int(text) if dimension.integer else float(text)
    except ValueError:
        return None


def _text(dimension: Dimension, value: Any) -> str:
    if isinstance(dimension, Categories):
        return dimension.sorted_values[value] if dimension.ordered else str(value)
    return dimension.at(value) if _by_share(dimension) else dimension.nearest(value)


def _good_trials(count: int) -> int:
    """How many of so many trials are good; Optuna's default."""
    return min(math.ceil(0.1 * count), _MOST_GOOD_TRIALS)


def _always(good: int) -> Callable[[int], int]:
    return lambda _: good


def _gamma(gamma: float) -> Callable[[int], int]:
    def good_trials(count: int) -> int:
        return min(math.ceil(gamma * math.sqrt(count)), _MOST_GOOD_TRIALS)

    return good_trials


def _seed(seed: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:4], "big")
