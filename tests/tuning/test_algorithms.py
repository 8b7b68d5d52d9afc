"""Algorithms propose points within the space, the same ones every time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.tuning.algorithms import ALGORITHMS, Exhausted, PastTrial, TrialState, create
from kubeling.tuning.algorithms.base import Algorithm, Search
from kubeling.tuning.space import Assignments, dimensions

SPACE = dimensions(
    [
        {
            "name": "lr",
            "parameterType": "double",
            "feasibleSpace": {"min": "0.001", "max": "1", "distribution": "logUniform"},
        },
        {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}},
        {
            "name": "optimizer",
            "parameterType": "categorical",
            "feasibleSpace": {"list": ["sgd", "adam"]},
        },
        {
            "name": "momentum",
            "parameterType": "discrete",
            "feasibleSpace": {"list": ["0.9", "0.5"]},
        },
    ]
)
SEARCHING = [name for name in ALGORITHMS if name != "grid"]


def algorithm(name: str, seed: str = "7") -> Algorithm:
    return create(name, Search(tuple(SPACE), True, {}, seed))


def loss(point: Assignments) -> float:
    return abs(math.log10(float(point["lr"])) + 2) + abs(int(point["layers"]) - 3)


def run(name: str, count: int, seed: str = "7") -> list[PastTrial]:
    search, history = algorithm(name, seed), []
    for _ in range(count):
        point = search.suggest(history)
        history.append(PastTrial(point, TrialState.COMPLETE, loss(point)))
    return history


@pytest.mark.parametrize("name", SEARCHING)
def test_points_lie_in_the_space(name: str) -> None:
    for past in run(name, 15):
        point = past.assignments
        assert 0.001 <= float(point["lr"]) <= 1
        assert 1 <= int(point["layers"]) <= 9
        assert point["optimizer"] in ("sgd", "adam")
        assert point["momentum"] in ("0.9", "0.5")


@pytest.mark.parametrize("name", SEARCHING)
def test_a_restart_proposes_what_would_have_been_proposed(name: str) -> None:
    history = run(name, 14)
    assert algorithm(name).suggest(history[:12]) == history[12].assignments
    assert algorithm(name).suggest(history[:13]) == history[13].assignments


@pytest.mark.parametrize("name", SEARCHING)
def test_seeds_differ(name: str) -> None:
    assert run(name, 1, "1") != run(name, 1, "2")


@pytest.mark.parametrize("name", ["tpe", "multivariate-tpe"])
def test_a_batch_does_not_repeat_itself(name: str) -> None:
    history = run(name, 12)
    batch = []
    for _ in range(4):
        point = algorithm(name).suggest([*history, *batch])
        batch.append(PastTrial(point, TrialState.RUNNING))
    assert len({tuple(past.assignments.items()) for past in batch}) == 4


def test_tpe_leaves_the_region_where_trials_fail() -> None:
    search = algorithm("tpe")
    history = [
        PastTrial({**point.assignments, "layers": layers}, state, value)
        for point in run("random", 12)
        for layers, state, value in (
            ("9", TrialState.FAILED, None),
            ("2", TrialState.COMPLETE, 1.0),
        )
    ]
    proposed = []
    for _ in range(8):
        point = search.suggest(history)
        proposed.append(int(point["layers"]))
        history.append(PastTrial(point, TrialState.COMPLETE, 1.0))
    assert proposed.count(9) <= 1


STEPS = [
    {
        "name": "x",
        "parameterType": "double",
        "feasibleSpace": {"min": "0.1", "max": "0.3", "step": "0.1"},
    },
    {"name": "y", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "2"}},
]


def test_a_grid_visits_every_combination_once_and_then_ends() -> None:
    grid = create("grid", Search(tuple(dimensions(STEPS)), True, {}, ""))
    history: list[PastTrial] = []
    for _ in range(6):
        history.append(PastTrial(grid.suggest(history), TrialState.RUNNING))
    with pytest.raises(Exhausted):
        grid.suggest(history)
    assert [tuple(past.assignments.values()) for past in history] == [
        (x, y) for x in ("0.1", "0.2", "0.3") for y in ("1", "2")
    ]


@given(st.sets(st.integers(0, 5)))
def test_a_grid_returns_to_the_points_of_deleted_trials(gone: set[int]) -> None:
    grid = create("grid", Search(tuple(dimensions(STEPS)), True, {}, ""))
    history: list[PastTrial] = []
    for _ in range(6):
        history.append(PastTrial(grid.suggest(history), TrialState.RUNNING))
    everything = {tuple(past.assignments.items()) for past in history}
    left = [past for index, past in enumerate(history) if index not in gone]
    for _ in gone:
        left.append(PastTrial(grid.suggest(left), TrialState.RUNNING))
    assert {tuple(past.assignments.items()) for past in left} == everything


def test_a_grid_may_be_of_any_size() -> None:
    many = [
        {"name": f"p{i}", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "1000"}}
        for i in range(10)
    ]
    grid = create("grid", Search(tuple(dimensions(many)), True, {}, ""))
    assert grid.suggest([])["p9"] == "1"
