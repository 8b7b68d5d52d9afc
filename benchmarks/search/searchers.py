"""Who searches: Kubeling's algorithms and its peers, behind one way of asking.

A searcher is asked for a batch of points and told their losses together, as an experiment with as
many parallel trials would. What a peer needs is imported when it is used; one that is not
installed is left out by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

from search.problems import Problem

Point = dict[str, Any]


class Searcher(Protocol):
    def ask(self, count: int) -> list[Point]: ...

    def tell(self, points: Sequence[Point], losses: Sequence[float]) -> None: ...


class Kubeling:
    """An algorithm of Kubeling's, asked as the suggestion controller asks."""

    def __init__(self, algorithm: str, problem: Problem, seed: int) -> None:
        from kubeling.tuning.algorithms import Search, create
        from kubeling.tuning.space import dimensions

        space = tuple(dimensions(problem.parameters))
        self._kinds = {p["name"]: p["parameterType"] for p in problem.parameters}
        self._algorithm = create(algorithm, Search(space, True, {}, str(seed)))
        self._history: list[Any] = []

    def ask(self, count: int) -> list[Point]:
        from kubeling.tuning.algorithms import PastTrial, TrialState

        for _ in range(count):
            proposal = self._algorithm.propose(self._history)
            self._history.append(PastTrial(proposal.assignments, TrialState.RUNNING))
        return [self._read(past.assignments) for past in self._history[-count:]]

    def tell(self, points: Sequence[Point], losses: Sequence[float]) -> None:
        from kubeling.tuning.algorithms import PastTrial, TrialState

        asked = self._history[-len(points) :]
        self._history[-len(points) :] = [
            PastTrial(past.assignments, TrialState.COMPLETE, loss)
            for past, loss in zip(asked, losses, strict=True)
        ]

    def _read(self, assignments: dict[str, str]) -> Point:
        read = {"double": float, "int": int, "categorical": str}
        return {name: read[self._kinds[name]](text) for name, text in assignments.items()}


class Optuna:
    """Optuna as it comes: ``create_study()`` and ``ask``, several at a time."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import optuna

        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study()
        # The default sampler with a seed, which `create_study` cannot be given.
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        d = optuna.distributions
        self._distributions: dict[str, Any] = {}
        for p in problem.parameters:
            space = p["feasibleSpace"]
            if p["parameterType"] == "categorical":
                self._distributions[p["name"]] = d.CategoricalDistribution(space["list"])
            elif p["parameterType"] == "int":
                self._distributions[p["name"]] = d.IntDistribution(
                    int(space["min"]), int(space["max"])
                )
            else:
                self._distributions[p["name"]] = d.FloatDistribution(
                    float(space["min"]),
                    float(space["max"]),
                    log=space["distribution"] == "logUniform",
                )
        self._asked: list[Any] = []

    def ask(self, count: int) -> list[Point]:
        self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [dict(trial.params) for trial in self._asked]

    def tell(self, points: Sequence[Point], losses: Sequence[float]) -> None:
        for trial, loss in zip(self._asked, losses, strict=True):
            self._study.tell(trial, loss)


class Hyperopt:
    """hyperopt's TPE, a batch from one call, as Katib's service of that name asks it."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import numpy as np
        from hyperopt import Trials, base, hp, tpe

        space: dict[str, Any] = {}
        self._problem = problem
        for p in problem.parameters:
            name, feasible = p["name"], p["feasibleSpace"]
            if p["parameterType"] == "categorical":
                space[name] = hp.choice(name, feasible["list"])
            elif p["parameterType"] == "int":
                space[name] = hp.uniformint(name, int(feasible["min"]), int(feasible["max"]))
            elif feasible["distribution"] == "logUniform":
                low, high = np.log(float(feasible["min"])), np.log(float(feasible["max"]))
                space[name] = hp.loguniform(name, low, high)
            else:
                space[name] = hp.uniform(name, float(feasible["min"]), float(feasible["max"]))
        self._domain = base.Domain(lambda _: 0.0, space)
        self._trials = Trials()
        self._random = np.random.default_rng(seed)
        self._suggest = tpe.suggest
        self._done = base.JOB_STATE_DONE
        self._asked: list[Any] = []

    def ask(self, count: int) -> list[Point]:
        ids = self._trials.new_trial_ids(count)
        seed = int(self._random.integers(2**31 - 1))
        self._asked = self._suggest(ids, self._domain, self._trials, seed)
        points = []
        for trial in self._asked:
            values = {name: found[0] for name, found in trial["misc"]["vals"].items()}
            for p in self._problem.parameters:
                if p["parameterType"] == "categorical":
                    values[p["name"]] = p["feasibleSpace"]["list"][values[p["name"]]]
                elif p["parameterType"] == "int":
                    values[p["name"]] = int(values[p["name"]])
            points.append(values)
        return points

    def tell(self, points: Sequence[Point], losses: Sequence[float]) -> None:
        for trial, loss in zip(self._asked, losses, strict=False):
            trial["state"] = self._done
            trial["result"] = {"loss": loss, "status": "ok"}
        self._trials.insert_trial_docs(self._asked)
        self._trials.refresh()


class Ax:
    """Ax' Service API with its own choice of strategy."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import logging

        from ax.service.ax_client import AxClient, ObjectiveProperties

        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        parameters: list[dict[str, Any]] = []
        for p in problem.parameters:
            space = p["feasibleSpace"]
            if p["parameterType"] == "categorical":
                parameters.append({"name": p["name"], "type": "choice", "values": space["list"]})
                continue
            read = int if p["parameterType"] == "int" else float
            bounds = [read(space["min"]), read(space["max"])]
            log = space["distribution"] == "logUniform"
            entry = {"name": p["name"], "type": "range", "bounds": bounds, "log_scale": log}
            parameters.append({**entry, "value_type": read.__name__})
        self._client = AxClient(random_seed=seed, verbose_logging=False)
        objectives = {"loss": ObjectiveProperties(minimize=True)}
        self._client.create_experiment(
            parameters=parameters,
            objectives=objectives,
            choose_generation_strategy_kwargs={"max_parallelism_override": 64},
        )
        self._asked: list[int] = []

    def ask(self, count: int) -> list[Point]:
        asked = [self._client.get_next_trial() for _ in range(count)]
        self._asked = [index for _, index in asked]
        return [dict(point) for point, _ in asked]

    def tell(self, points: Sequence[Point], losses: Sequence[float]) -> None:
        for index, loss in zip(self._asked, losses, strict=True):
            self._client.complete_trial(trial_index=index, raw_data=loss)


PEERS = {"optuna": Optuna, "hyperopt": Hyperopt, "ax": Ax}


def searcher(name: str, problem: Problem, seed: int) -> Searcher:
    """A new search; raises :class:`ImportError` where a peer is not installed."""
    if name in PEERS:
        return PEERS[name](problem, seed)
    return Kubeling(name, problem, seed)
