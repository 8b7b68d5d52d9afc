"""Who proposes an experiment's points: an algorithm in this process, or a service of the user's.

Both are asked with the whole history, so neither need survive anything. What is kept in memory is
an algorithm that remembers what it derived from the history so far, and readings of trials that
have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

import msgspec

from kubeling.kube.objects import Obj, namespace, uid
from kubeling.tuning.algorithms import (
    Algorithm,
    Exhausted,
    PastTrial,
    Search,
    TrialState,
    Waiting,
    check_settings,
    create,
)
from kubeling.tuning.collection import Observations
from kubeling.tuning.early_stopping import Curve, gives_rules, rules_for
from kubeling.tuning.early_stopping.curves import curve
from kubeling.tuning.history import History, Remembered, numbered
from kubeling.tuning.objectives import goals_of
from kubeling.tuning.resources import Algorithm as AlgorithmSpec
from kubeling.tuning.space import dimensions
from kubeling.tuning.trial_names import trial_name
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = ["Asked", "InProcess", "Proposed", "Proposer", "ServiceUnavailable"]

_THREADS: Final = "OPENBLAS_NUM_THREADS"


@dataclass
class Asked:
    """What a proposer is asked about; ``points`` are those of the Suggestion's status.

    ``changes`` gives the trials that changed since it was called before, by name, and nothing for
    those that are gone; the first time all of them.
    """

    experiment: Obj
    suggestion: Obj
    read_trials: Callable[[], Sequence[Obj]]
    points: list[Obj]
    changes: Callable[[], Mapping[str, Obj | None]]
    earlier: Sequence[tuple[Obj, Sequence[Obj]]] = ()

    @cached_property
    def trials(self) -> Sequence[Obj]:
        """All of the experiment's trials."""
        return self.read_trials()


@dataclass
class Proposed:
    """New points; ``ended`` says that there will be no more.

    ``settings`` are the algorithm's own notes, to be kept in the Suggestion's status.
    """

    points: list[Obj] = field(default_factory=list)
    ended: bool = False
    settings: list[Obj] | None = None


class ServiceUnavailable(Exception):
    """What proposes cannot be reached now; it is worth trying again."""


class Proposer(Protocol):
    """The contract. Errors of the user's making are :class:`ValueError` with a message for them."""

    async def check(self, asked: Asked) -> None:
        """Raises :class:`ValueError` where the settings are wrong."""
        ...

    async def propose(self, asked: Asked, missing: int) -> Proposed:
        """Up to so many new points, fewer where the next depend on trials under way."""
        ...


class InProcess:
    """An algorithm of ours, for one experiment."""

    def __init__(self, store: Callable[[], Awaitable[Observations]]) -> None:
        self._store = store
        self._algorithm: Algorithm | None = None
        self._known = History()
        self._earlier: dict[str, Remembered] = {}
        self._curves: dict[str, Curve] = {}

    async def check(self, asked: Asked) -> None:
        """The settings, which admission has seen unless the Suggestion is somebody's own."""
        spec = _algorithm_spec(asked)
        for _, message in check_settings(spec.algorithm_name, spec.settings()):
            raise ValueError(message)

    async def propose(self, asked: Asked, missing: int) -> Proposed:
        """The algorithm's points, each known to the next as under way."""
        history = self._history(asked)
        first = len(history)
        rules = await self._rules(asked)
        found = await asyncio.to_thread(self._ask, asked, history, missing)
        taken = {point["name"] for point in asked.points}
        index = self._known.next_index(asked.points)
        for place, past in enumerate(history[first:]):
            point: Obj = {
                "name": trial_name(asked.experiment, taken, self._known.names),
                "parameterAssignments": [
                    {"name": key, "value": value} for key, value in past.assignments.items()
                ],
            }
            taken.add(point["name"])
            if past.labels:
                point["labels"] = dict(past.labels)
            if rules:
                point["earlyStoppingRules"] = rules
            found.points.append(numbered(point, index + place))
        return found

    def _ask(self, asked: Asked, history: list[PastTrial], missing: int) -> Proposed:
        """Appends the new points to the history."""
        found = Proposed()
        if self._algorithm is None:
            self._algorithm = _created(asked)
        for _ in range(missing):
            try:
                proposal = self._algorithm.propose(history)
            except Exhausted:
                found.ended = True
                break
            except Waiting:
                break
            history.append(
                PastTrial(proposal.assignments, TrialState.RUNNING, labels=proposal.labels)
            )
        return found

    def _history(self, asked: Asked) -> list[PastTrial]:
        spec = asked.experiment["spec"]
        history: list[PastTrial] = []
        for experiment, trials in asked.earlier:
            known = self._earlier.setdefault(uid(experiment), Remembered())
            past = known.past(spec, (), trials)
            history += [p for p in past if p.state is TrialState.COMPLETE]
        self._known.update(spec, asked.changes())
        return history + self._known.past(asked.points)

    async def _rules(self, asked: Asked) -> list[Obj]:
        """The early stopping rules of the trials suggested now."""
        spec = asked.experiment["spec"]
        if not gives_rules(spec):
            return []
        metric = spec["objective"]["objectiveMetricName"]
        for trial in asked.trials:
            if uid(trial) not in self._curves and phase_of(trial) is TrialPhase.SUCCEEDED:
                readings = await (await self._store()).read(namespace(trial), uid(trial))
                self._curves[uid(trial)] = curve(readings, metric, complete=True)
        return rules_for(spec, lambda: list(self._curves.values()))


def _algorithm_spec(asked: Asked) -> AlgorithmSpec:
    return msgspec.convert(asked.suggestion["spec"]["algorithm"], AlgorithmSpec, strict=False)


def _created(asked: Asked) -> Algorithm:
    """The experiment's algorithm, with what it imports."""
    spec, algorithm = asked.experiment["spec"], _algorithm_spec(asked)
    settings = algorithm.settings()
    goals = goals_of(spec)
    search = Search(
        space=tuple(dimensions(spec.get("parameters") or ())),
        minimize=spec["objective"]["type"] == "minimize",
        settings=settings,
        seed=settings.get("random_state") or uid(asked.experiment),
        also_minimize=tuple(low for _, low in goals.objectives[1:]),
        nas=spec.get("nasConfig") or {},
    )
    with _one_thread():
        return create(algorithm.algorithm_name, search)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Has numpy load with one thread: its matrices are small here, and the cores are the trials'.

    Only algorithms that compute load it. The variable is read when the library is loaded and must
    not reach the processes of trials.
    """
    if "numpy" in sys.modules or _THREADS in os.environ:
        yield
        return
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_THREADS]
