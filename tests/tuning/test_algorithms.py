"""Algorithms propose points within the space, the same ones every time, none of them twice."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.tuning.algorithms import (
    ALGORITHMS,
    Algorithm,
    Exhausted,
    PastTrial,
    Search,
    TrialState,
    Waiting,
    create,
)
from kubeling.tuning.algorithms.cube import Cube
from kubeling.tuning.algorithms.variation import varied
from kubeling.tuning.space import Assignments, Dimension, Interval, dimensions


def double(name: str, low: str, high: str, **more: str) -> dict[str, Any]:
    space = {"min": low, "max": high, **more}
    return {"name": name, "parameterType": "double", "feasibleSpace": space}


def integer(name: str, low: int, high: int, **more: str) -> dict[str, Any]:
    space = {"min": str(low), "max": str(high), **more}
    return {"name": name, "parameterType": "int", "feasibleSpace": space}


def listed(name: str, kind: str, *values: str) -> dict[str, Any]:
    return {"name": name, "parameterType": kind, "feasibleSpace": {"list": list(values)}}


SPACE = dimensions(
    [
        double("lr", "0.001", "1", distribution="logUniform"),
        integer("layers", 1, 9),
        listed("optimizer", "categorical", "sgd", "adam"),
        listed("momentum", "discrete", "0.9", "0.5"),
    ]
)
ARCHITECTURES = ("enas", "darts")
SEARCHING = [name for name in ALGORITHMS if name not in ("grid", *ARCHITECTURES)]
MODELS = ["auto", "gp", "bayesianoptimization", "tpe", "multivariate-tpe", "cmaes"]
REQUIRED = {
    "hyperband": {"r_l": "9", "resource_name": "layers"},
    "asha": {"max_resource": "9", "resource_name": "layers"},
    "pbt": {
        "suggestion_trial_dir": "/ckpt",
        "n_population": "5",
        "truncation_threshold": "0.4",
    },
}


def algorithm(
    name: str, seed: str = "7", space: Sequence[Dimension] = SPACE, **stated: str
) -> Algorithm:
    chosen = {**REQUIRED.get(name, {}), **stated}
    return create(name, Search(tuple(space), True, chosen, seed))


def loss(point: Assignments) -> float:
    return abs(math.log10(float(point["lr"])) + 2) + abs(int(point["layers"]) - 3)


def run(
    name: str, count: int, seed: str = "7", value: Callable[[Assignments], float] = loss
) -> list[PastTrial]:
    search, history = algorithm(name, seed), list[PastTrial]()
    for index in range(count):
        proposal = search.propose(history)
        point = proposal.assignments
        history.append(
            PastTrial(
                point,
                TrialState.COMPLETE,
                value(point),
                name=f"trial-{index}",
                labels=proposal.labels,
            )
        )
    return history


def batch(search: Algorithm, history: list[PastTrial], count: int) -> list[PastTrial]:
    found: list[PastTrial] = []
    for index in range(count):
        proposal = search.propose([*history, *found])
        found.append(
            PastTrial(
                proposal.assignments,
                TrialState.RUNNING,
                name=f"batch-{index}",
                labels=proposal.labels,
            )
        )
    return found


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
    for known in (12, 13):
        assert algorithm(name).propose(history[:known]).assignments == history[known].assignments


@pytest.mark.parametrize("name", MODELS)
def test_what_is_remembered_decides_nothing(name: str) -> None:
    """Asked along the way, trials ending out of order, or once at the end: the same point."""
    followed = algorithm(name)
    history: list[PastTrial] = []
    for step in range(6):
        history += batch(followed, history, 3)
        for place in range(len(history)):
            # One of each three ends a round late, and one fails.
            if history[place].state is TrialState.RUNNING and place <= 3 * step + 1:
                point = history[place].assignments
                failed = place % 7 == 3
                state = TrialState.FAILED if failed else TrialState.COMPLETE
                history[place] = PastTrial(point, state, None if failed else loss(point))
    assert followed.propose(history) == algorithm(name).propose(history)


@pytest.mark.parametrize("name", SEARCHING)
def test_seeds_differ(name: str) -> None:
    assert run(name, 2, "1")[1].assignments != run(name, 2, "2")[1].assignments


@pytest.mark.parametrize("name", [n for n in SEARCHING if n not in REQUIRED])
@pytest.mark.parametrize("known", [0, 14])
def test_a_batch_is_of_different_points(name: str, known: int) -> None:
    history = run(name, known)
    found = [*history, *batch(algorithm(name), history, 8)]
    assert len({tuple(past.assignments.items()) for past in found}) == known + 8


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if n not in (*REQUIRED, *ARCHITECTURES)])
def test_a_space_of_six_points_ends_after_six(name: str) -> None:
    space = dimensions([integer("x", 1, 3), integer("y", 1, 2)])
    search, history = algorithm(name, space=space), list[PastTrial]()
    for _ in range(6):
        point = search.propose(history).assignments
        history.append(PastTrial(point, TrialState.COMPLETE, float(point["x"])))
    assert len({tuple(past.assignments.items()) for past in history}) == 6
    with pytest.raises(Exhausted):
        search.propose(history)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, 1.0])
def test_trials_that_all_fail_or_all_agree_end_no_search(name: str, value: float | None) -> None:
    search, history = algorithm(name), list[PastTrial]()
    for _ in range(16):
        point = search.propose(history).assignments
        state = TrialState.FAILED if value is None else TrialState.COMPLETE
        history.append(PastTrial(point, state, value))
    assert len({tuple(past.assignments.items()) for past in history}) == 16


@pytest.mark.parametrize("name", ["auto", "tpe", "multivariate-tpe"])
def test_the_region_where_trials_fail_is_left(name: str) -> None:
    search = algorithm(name)
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
        point = search.propose(history).assignments
        proposed.append(int(point["layers"]))
        history.append(PastTrial(point, TrialState.COMPLETE, 1.0))
    assert proposed.count(9) <= 1


@pytest.mark.parametrize("name", ["auto", "bayesianoptimization", "cmaes"])
def test_a_search_beats_chance(name: str) -> None:
    def best(algorithm_name: str) -> float:
        runs = [run(algorithm_name, 30, str(seed)) for seed in range(2)]
        return sum(min(past.value or 0.0 for past in history) for history in runs)

    assert best(name) < best("random")


def trap(point: Assignments) -> float:
    """Good at once with one optimizer; better with the other, with a learning rate of its own."""
    rate = math.log10(float(point["lr"]))
    if point["optimizer"] == "sgd":
        return 0.3 + 0.1 * (rate + 0.5) ** 2
    return 2 * (rate + 2.6) ** 2 + 0.05 * abs(int(point["layers"]) - 8)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_search_leaves_the_category_that_is_only_second_best(seed: str) -> None:
    history = run("auto", 60, seed, trap)
    assert min(past.value or 0.0 for past in history) < 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_a_variation_keeps_something_of_a_good_point(count: int, seed: int) -> None:
    wide = dimensions([double(f"x{place}", "0", "1") for place in range(12)])
    cube, random = Cube(wide), np.random.default_rng(seed)
    points = cube.snapped(random.random((count, cube.size)))
    values = random.random(count)
    for point in varied(cube, points, values, random):
        assert ((point >= 0) & (point <= 1)).all()
        assert 0 < (point == points).sum(axis=1).max() < cube.size


PARAMETERS = st.one_of(
    st.builds(
        lambda low, size, shape: double("p", str(low), str(low + size), distribution=shape),
        st.floats(1e-3, 10),
        st.floats(0, 100),
        st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
    ),
    st.builds(
        lambda low, size, step, shape: integer(
            "p", low, low + size, step=str(step), distribution=shape
        ),
        st.integers(1, 20),
        st.integers(0, 300),
        st.integers(1, 7),
        st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
    ),
    st.builds(lambda n: listed("p", "categorical", *map(str, range(n))), st.integers(1, 5)),
    st.builds(lambda n: listed("p", "discrete", *map(str, range(n))), st.integers(1, 5)),
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(PARAMETERS, min_size=1, max_size=4),
    st.sampled_from(["random", "sobol", "auto", "tpe"]),
)
def test_any_space_is_searched_within_its_bounds(
    parameters: list[dict[str, Any]], name: str
) -> None:
    named = [{**parameter, "name": f"p{place}"} for place, parameter in enumerate(parameters)]
    space = dimensions(named)
    search, history = algorithm(name, space=space), list[PastTrial]()
    for step in range(12):
        try:
            point = search.propose(history).assignments
        except Exhausted:
            break
        for dimension in space:
            text = point[dimension.name]
            if isinstance(dimension, Interval):
                assert float(dimension.low) <= float(text) <= float(dimension.high)
                assert dimension.nearest(float(text)) == text
            else:
                assert text in dimension.values
        history.append(PastTrial(point, TrialState.COMPLETE, float(step % 5)))
    assert len({tuple(past.assignments.items()) for past in history}) == len(history)


@given(PARAMETERS, st.floats(0, 1, exclude_max=True))
def test_a_share_of_a_distribution_can_be_taken_back(
    parameter: dict[str, Any], share: float
) -> None:
    (dimension,) = dimensions([parameter])
    text = dimension.at(share)
    if isinstance(dimension, Interval):
        again = dimension.at(dimension.share(float(text)))
        assert math.isclose(float(again), float(text), rel_tol=1e-6, abs_tol=1e-9)
    else:
        assert dimension.at(dimension.share(text)) == text


def test_a_normal_distribution_stays_near_the_middle_and_within_bounds() -> None:
    space = dimensions([double("x", "0", "6", distribution="normal")])
    values = [
        float(algorithm("random", str(seed), space).propose([]).assignments["x"])
        for seed in range(300)
    ]
    assert all(0 <= value <= 6 for value in values)
    assert 0.55 < sum(2 <= value <= 4 for value in values) / 300 < 0.8


# grid

STEPS = [double("x", "0.1", "0.3", step="0.1"), integer("y", 1, 2)]


def test_a_grid_visits_every_combination_once_and_then_ends() -> None:
    grid = algorithm("grid", space=dimensions(STEPS))
    history: list[PastTrial] = []
    for _ in range(6):
        history.append(PastTrial(grid.propose(history).assignments, TrialState.RUNNING))
    with pytest.raises(Exhausted):
        grid.propose(history)
    assert [tuple(past.assignments.values()) for past in history] == list(
        itertools.product(("0.1", "0.2", "0.3"), ("1", "2"))
    )


@given(st.sets(st.integers(0, 5)))
def test_a_grid_returns_to_the_points_of_deleted_trials(gone: set[int]) -> None:
    grid = algorithm("grid", space=dimensions(STEPS))
    history: list[PastTrial] = []
    for _ in range(6):
        history.append(PastTrial(grid.propose(history).assignments, TrialState.RUNNING))
    everything = {tuple(past.assignments.items()) for past in history}
    left = [past for index, past in enumerate(history) if index not in gone]
    for _ in gone:
        left.append(PastTrial(grid.propose(left).assignments, TrialState.RUNNING))
    assert {tuple(past.assignments.items()) for past in left} == everything


def test_a_grid_may_be_of_any_size() -> None:
    grid = algorithm("grid", space=dimensions([integer(f"p{i}", 1, 1000) for i in range(10)]))
    assert grid.propose([]).assignments["p9"] == "1"


@pytest.mark.parametrize(
    "name", ["random", "sobol", "tpe", "multivariate-tpe", "bayesianoptimization", "auto", "nsga2"]
)
def test_a_point_may_get_the_name_of_its_trial_later(name: str) -> None:
    search = algorithm(name)
    history: list[PastTrial] = []
    for _ in range(3):
        history.append(PastTrial(search.propose(history).assignments, TrialState.RUNNING))
    named = [replace(past, name=f"trial-{place}") for place, past in enumerate(history)]
    assert search.propose(named).assignments not in [past.assignments for past in named]


# sobol


def test_sobol_puts_one_point_in_every_cell() -> None:
    space = dimensions([double(f"x{i}", "0", "1") for i in range(20)])
    history: list[PastTrial] = []
    search = algorithm("sobol", space=space)
    for _ in range(64):
        history.append(PastTrial(search.propose(history).assignments, TrialState.RUNNING))
    for dimension in space:
        cells = {int(float(past.assignments[dimension.name]) * 64) for past in history}
        assert len(cells) == 64


# halving


def play(search: Algorithm, parallel: int, most: int = 200) -> list[PastTrial]:
    """Runs trials, so many at a time, each ending before the next is asked for."""
    history: list[PastTrial] = []
    while len(history) < most:
        running = [p for p in history if p.state is TrialState.RUNNING]
        try:
            if len(running) < parallel:
                history += batch(search, history, 1)
                continue
        except Exhausted:
            if not running:
                return history
        except Waiting:
            assert running
        place = history.index(running[0])
        past = running[0]
        history[place] = PastTrial(
            past.assignments, TrialState.COMPLETE, loss_of_rate(past), labels=past.labels
        )
    return history


def loss_of_rate(past: PastTrial) -> float:
    return abs(math.log10(float(past.assignments["lr"])) + 2)


@pytest.mark.parametrize("parallel", [1, 2, 9, 30])
def test_hyperband_halves_whatever_may_run_at_once(parallel: int) -> None:
    history = play(algorithm("hyperband"), parallel)
    resources = [past.assignments["layers"] for past in history]
    # r_l 9 and eta 3: brackets of 9-3-1, 5-1 and 3 configurations.
    assert {r: resources.count(r) for r in ("1", "3", "9")} == {"1": 9, "3": 8, "9": 5}
    first = [past for past in history if past.labels[BRACKET] == "0"]
    by_rung = {
        rung: [past for past in first if past.labels[RUNG] == rung] for rung in ("0", "1", "2")
    }
    best = sorted(by_rung["0"], key=loss_of_rate)[:3]
    assert {p.assignments["lr"] for p in by_rung["1"]} == {p.assignments["lr"] for p in best}
    assert by_rung["2"][0].assignments["lr"] == best[0].assignments["lr"]


BRACKET = "halving.suggestion.kubeling.io/bracket"
RUNG = "halving.suggestion.kubeling.io/rung"


def test_asha_takes_the_best_third_on_without_waiting() -> None:
    history = play(algorithm("asha"), 4, 60)
    rungs = [past.labels[RUNG] for past in history]
    assert rungs.count("0") > rungs.count("1") > rungs.count("2") >= 2
    for past in history:
        assert past.assignments["layers"] == str(3 ** int(past.labels[RUNG]))


# population based training

GENERATION = "pbt.suggestion.katib.kubeflow.org/generation"
PARENT = "pbt.suggestion.katib.kubeflow.org/parent"


def test_a_population_goes_on_from_its_best() -> None:
    space = dimensions([double("lr", "0.01", "1", step="0.01")])
    search, history = algorithm("pbt", space=space), list[PastTrial]()
    for index in range(15):
        proposal = search.propose(history)
        value = abs(float(proposal.assignments["lr"]) - 0.5)
        history.append(
            PastTrial(
                proposal.assignments,
                TrialState.COMPLETE,
                value,
                name=f"t{index}",
                labels=proposal.labels,
            )
        )
    assert [past.labels[GENERATION] for past in history] == ["0"] * 5 + ["1"] * 5 + ["2"] * 5
    first, second = history[:5], history[5:10]
    ranked = sorted(first, key=lambda past: past.value or 0.0)
    assert [past.labels.get(PARENT) for past in first] == [None] * 5
    # Three explore from their own, two take over one of the two best.
    assert [past.labels[PARENT] for past in second[:3]] == [past.name for past in ranked[:3]]
    for past in second[3:]:
        parent = next(p for p in first if p.name == past.labels[PARENT])
        assert parent in ranked[:2]
        assert past.assignments == parent.assignments


def test_a_generation_waits_for_the_one_before_and_replaces_who_failed() -> None:
    search = algorithm("pbt")
    history = batch(search, [], 5)
    with pytest.raises(Waiting):
        search.propose(history)
    history[2] = PastTrial(history[2].assignments, TrialState.FAILED, labels=history[2].labels)
    assert search.propose(history).labels[GENERATION] == "0"


# neural architectures

NAS: Mapping[str, Any] = {
    "graphConfig": {"numLayers": 3, "inputSizes": [32, 32, 3], "outputSizes": [10]},
    "operations": [
        {
            "operationType": "separable_convolution",
            "parameters": [
                listed("filter_size", "categorical", "3", "5"),
                integer("depth", 1, 2),
            ],
        },
        {"operationType": "skip_connection", "parameters": [listed("f", "categorical", "1")]},
    ],
}


def searching(name: str, **stated: str) -> Algorithm:
    return create(name, Search((), False, stated, "7", nas=NAS))


def test_enas_describes_a_network() -> None:
    proposal = searching("enas").propose([]).assignments
    architecture = json.loads(proposal["architecture"].replace("'", '"'))
    config = json.loads(proposal["nn_config"].replace("'", '"'))
    assert [len(row) for row in architecture] == [1, 2, 3]
    assert config["num_layers"] == 3
    assert config["input_sizes"] == [32, 32, 3]
    assert {int(key) for key in config["embedding"]} == {row[0] for row in architecture}
    for number, operation in config["embedding"].items():
        assert operation["opt_id"] == int(number)
        assert operation["opt_type"] in ("separable_convolution", "skip_connection")


def test_enas_learns_which_operation_pays() -> None:
    search, history, chosen = searching("enas"), list[PastTrial](), list[int]()
    for _ in range(80):
        point = search.propose(history).assignments
        operations = [row[0] for row in json.loads(point["architecture"])]
        chosen.append(operations.count(4))
        history.append(PastTrial(point, TrialState.COMPLETE, operations.count(4) / 3))
    assert sum(chosen[-20:]) > sum(chosen[:20]) + 10


@pytest.mark.parametrize("parallel", [1, 5])
def test_enas_believes_the_same_after_a_restart(parallel: int) -> None:
    """Whatever it remembers of the trials before, and in whichever order they end."""
    search, history = searching("enas"), list[PastTrial]()
    for index in range(70):
        point = search.propose(history).assignments
        history.append(PastTrial(point, TrialState.RUNNING))
        if index % parallel == 0:
            for place in reversed(range(len(history))):
                ended = PastTrial(history[place].assignments, TrialState.COMPLETE, place % 7 / 7)
                history[place] = ended
    assert search.propose(history) == searching("enas").propose(history)
    shorter = history[:40]
    assert search.propose(shorter) == searching("enas").propose(shorter)


def test_enas_is_not_upset_by_a_training_run_that_diverged() -> None:
    def shares(worst: float) -> str:
        search, history = searching("enas"), list[PastTrial]()
        for index in range(40):
            point = search.propose([]).assignments
            value = worst if index == 20 else index % 5 / 5
            history.append(PastTrial(point, TrialState.COMPLETE, value))
        return search.propose(history).assignments["architecture"]

    assert shares(-1e9) == shares(-1e12)
    assert shares(math.nan) == shares(math.inf)


def test_darts_hands_the_space_and_the_settings_on() -> None:
    proposal = searching("darts", num_epochs="2", batch_size="None").propose([]).assignments
    settings = json.loads(proposal["algorithm-settings"].replace("'", '"'))
    assert (settings["num_epochs"], settings["batch_size"], settings["w_lr"]) == ("2", None, 0.025)
    assert proposal["search-space"] == (
        "['separable_convolution_3x3', 'separable_convolution_5x5', 'skip_connection']"
    )
    assert proposal["num-layers"] == "3"


# several objectives


@pytest.mark.parametrize("name", ["gp", "nsga2"])
def test_several_objectives_spread_along_the_front(name: str) -> None:
    """Two figures that pull x to 0 and to 1; a constraint keeps y above a half."""
    space = dimensions([double("x", "0", "1"), double("y", "0", "1")])
    search = create(name, Search(tuple(space), True, {}, "7", also_minimize=(False,)))
    history: list[PastTrial] = []
    for _ in range(60):
        point = search.propose(history).assignments
        x, y = float(point["x"]), float(point["y"])
        values = (x**2 + y, -((x - 1) ** 2) - y)
        history.append(
            PastTrial(point, TrialState.COMPLETE, values[0], values, violations=(0.5 - y,))
        )
    late = [past for past in history[30:] if past.violations[0] <= 0.05]
    assert len(late) > 15
    assert sum(float(past.assignments["y"]) < 0.7 for past in late) > 10
    xs = [float(past.assignments["x"]) for past in late]
    assert min(xs) < 0.25
    assert max(xs) > 0.75
