"""The trials of one experiment by phase, in order, with the best first.

An experiment is looked at whenever one of its trials changes, and of a thousand others none has: so
a trial that changed is put into its place, and nothing else is touched.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj, deletion_requested, name
from kubeling.tuning.metrics import strategy_value, text_value
from kubeling.tuning.objectives import pareto_front
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = ["Tally"]

_MEASURED: Final = (TrialPhase.SUCCEEDED, TrialPhase.EARLY_STOPPED)

_Age = tuple[str, str]
_Rating = tuple[float, int, str, str]


class Tally:
    """What an experiment asks about its trials. Those being deleted are known by name only."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        """The experiment's spec, of which the objective and the algorithm count."""
        self._spec = spec
        self._objective: Mapping[str, Any] = spec.get("objective") or {}
        self._sign = 1 if self._objective.get("type") == "minimize" else -1
        self._trials: dict[str, Obj] = {}
        self._phases: dict[str, TrialPhase] = {}
        self._ages: dict[TrialPhase, list[_Age]] = {phase: [] for phase in TrialPhase}
        self._ratings: list[_Rating] = []
        self._front: list[Obj] | None = None

    @classmethod
    def of(cls, trials: Iterable[Obj], spec: Mapping[str, Any]) -> Tally:
        """The tally of so many trials."""
        found = cls(spec)
        for trial in trials:
            found.put(trial)
        return found

    def put(self, trial: Obj) -> None:
        """Takes in a trial, or what became of one."""
        self.remove(name(trial))
        self._trials[name(trial)] = trial
        if deletion_requested(trial):
            return
        phase = phase_of(trial)
        self._phases[name(trial)] = phase
        insort(self._ages[phase], _age(trial))
        if phase in _MEASURED:
            self._front = None
            if (rating := self._rating(trial, phase)) is not None:
                insort(self._ratings, rating)

    def remove(self, trial_name: str) -> None:
        """Forgets a trial, if it is known."""
        trial = self._trials.pop(trial_name, None)
        phase = self._phases.pop(trial_name, None)
        if trial is None or phase is None:
            return
        _take(self._ages[phase], _age(trial))
        if phase in _MEASURED:
            self._front = None
            if (rating := self._rating(trial, phase)) is not None:
                _take(self._ratings, rating)

    @property
    def known(self) -> Collection[str]:
        """The names of all trials."""
        return self._trials.keys()

    def names(self, phase: TrialPhase) -> list[str]:
        """The trials in a phase, oldest first."""
        return [trial_name for _, trial_name in self._ages[phase]]

    def trials(self, *phases: TrialPhase) -> list[Obj]:
        """The same, whole."""
        return [self._trials[found] for phase in phases for found in self.names(phase)]

    def count(self, *phases: TrialPhase) -> int:
        return sum(len(self._ages[phase]) for phase in phases)

    @property
    def active(self) -> list[Obj]:
        """The trials that have not ended."""
        return self.trials(TrialPhase.PENDING, TrialPhase.RUNNING)

    @property
    def total(self) -> int:
        return len(self._phases)

    @property
    def ended(self) -> int:
        return self.total - self.count(TrialPhase.PENDING, TrialPhase.RUNNING)

    @property
    def without_value(self) -> int:
        """The trials that count as failed."""
        return self.count(TrialPhase.FAILED, TrialPhase.METRICS_UNAVAILABLE)

    @property
    def best(self) -> Obj | None:
        """The best of the trials that measured something; the earlier of equal ones.

        Of trials whose objective is a text the latest is the best, as upstream has it.
        """
        if self._ratings:
            return self._trials[self._ratings[0][3]]
        told = (t for t in self.trials(*_MEASURED) if self._text(t))
        return max(told, key=lambda t: str(t["status"].get("completionTime") or ""), default=None)

    def front(self) -> list[Obj]:
        """The trials that none other beats, where there are several objectives."""
        if self._front is None:
            self._front = pareto_front(self._spec, self.trials(*_MEASURED))
        return self._front

    def _text(self, trial: Obj) -> str:
        return text_value(self._objective, trial["status"].get("observation"))

    def _rating(self, trial: Obj, phase: TrialPhase) -> _Rating | None:
        value = strategy_value(self._objective, trial["status"].get("observation"))
        return None if value is None else (self._sign * value, _MEASURED.index(phase), *_age(trial))


def _age(trial: Obj) -> _Age:
    return str(trial["metadata"].get("creationTimestamp")), name(trial)


def _take(filed: list[Any], entry: tuple[Any, ...]) -> None:
    del filed[bisect_left(filed, entry)]
