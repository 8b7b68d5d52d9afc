"""Experiments as the dashboard looks at them: order, states, importance, surface, Pareto front."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.gateway.drawing.contour import BANDS
from kubeling.gateway.drawing.network import draw_network
from kubeling.gateway.trials.architecture import networks_in, networks_of
from kubeling.gateway.trials.importance import LEAST, importance_of
from kubeling.gateway.trials.model import Goal, Study, Trial, study_of
from kubeling.gateway.trials.pareto import front
from kubeling.gateway.trials.searches import study_of_search
from kubeling.gateway.trials.surface import bands, surface
from kubeling.gateway.trials.table import table_of

SPACE = [
    {"name": "lr", "parameterType": "double",
     "feasibleSpace": {"min": "1e-4", "max": "1e-1", "distribution": "logUniform"}},
    {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "4"}},
    {"name": "opt", "parameterType": "categorical", "feasibleSpace": {"list": ["adam", "sgd"]}},
]  # fmt: skip
GOALS = [Goal("accuracy", "maximize", "max"), Goal("latency", "minimize", "min")]


def manifest(name: str, second: int, *conditions: str, **values: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": f"2026-01-01T00:00:{second:02}Z"},
        "spec": {"parameterAssignments": [{"name": "lr", "value": "0.01"}]},
        "status": {
            "conditions": [{"type": c, "status": "True", "message": f"is {c}"} for c in conditions],
            "observation": {
                "metrics": [
                    {"name": n, "min": "0", "max": value, "latest": "1"}
                    for n, value in values.items()
                ]
            },
        },
    }


def test_a_study_has_its_trials_in_order_with_the_values_that_count() -> None:
    strategies = [
        {"name": "accuracy", "value": "max"},
        {"name": "latency", "value": "min"},
        {"name": "size", "value": "latest"},
    ]
    experiment = {
        "metadata": {"name": "e", "namespace": "n"},
        "spec": {
            "objective": {
                "type": "maximize",
                "objectiveMetricName": "accuracy",
                "additionalMetricNames": ["latency", "size"],
                "metricStrategies": strategies,
            },
            "parameters": SPACE,
        },
    }
    values = {"accuracy": "0.9", "latency": "7", "size": "nan"}
    study = study_of(
        experiment,
        [
            manifest("b", 2, "Created", "Running"),
            manifest("a", 1, "Created", "Succeeded", **values),
            manifest("c", 3, "Created", "Failed"),
            manifest("d", 4),
        ],
    )
    assert [(t.number, t.name, t.state) for t in study.trials] == [
        (1, "a", "succeeded"),
        (2, "b", "running"),
        (3, "c", "failed"),
        (4, "d", "pending"),
    ]
    assert [goal.direction for goal in study.goals] == ["maximize", "minimize", "maximize"]
    assert study.trials[0].metrics == {"accuracy": 0.9, "latency": 0.0, "size": 1.0}
    assert study.trials[2].message == "is Failed"
    assert study.scale("lr").place(0.01) == pytest.approx(2 / 3)
    assert study.scale("opt").place("sgd") == 0.75


def trials(count: int, seed: int = 1) -> list[Trial]:
    """Trials whose accuracy depends on the learning rate alone."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        lr = 10 ** rng.uniform(-4, -1)
        parameters = {
            "lr": str(lr),
            "layers": str(rng.randint(1, 4)),
            "opt": rng.choice(["adam", "sgd"]),
        }
        accuracy = 1 - (math.log10(lr) + 2.5) ** 2
        metrics = {"accuracy": accuracy, "latency": rng.random()}
        found.append(Trial(number, f"t{number}", "", "succeeded", parameters, metrics))
    return found


def study(found: list[Trial]) -> Study:
    return Study("e", "n", "tpe", GOALS, SPACE, found)


def test_the_parameter_that_matters_is_the_most_important() -> None:
    shares = importance_of(study(trials(60)), GOALS[0])
    assert shares[0][0] == "lr"
    assert shares[0][1] > 0.5
    assert sum(share for _, share in shares) == pytest.approx(1)


def test_too_little_or_the_same_everywhere_says_nothing_of_importance() -> None:
    assert importance_of(study(trials(LEAST - 1)), GOALS[0]) == []
    same = [replace(trial, metrics={"accuracy": 1.0}) for trial in trials(30)]
    assert importance_of(study(same), GOALS[0]) == []
    failed = [replace(trial, state="failed") for trial in trials(30)]
    assert importance_of(study(failed), GOALS[0]) == []
    outside = [replace(trial, parameters={"lr": "7"}) for trial in trials(30)]
    assert importance_of(study(outside), GOALS[0]) == []


@given(st.integers(1, 40), st.integers())
def test_nothing_on_the_front_is_beaten_and_everything_else_is(count: int, seed: int) -> None:
    found = trials(count, seed)
    best = front(found, GOALS)

    def beats(one: Trial, other: Trial) -> bool:
        a, b = one.metrics, other.metrics
        return (
            a["accuracy"] >= b["accuracy"] and a["latency"] <= b["latency"] and dict(a) != dict(b)
        )

    assert best
    for trial in found:
        assert any(beats(other, trial) for other in found) == (trial not in best)


def test_the_surface_is_good_where_the_good_trials_are() -> None:
    points = [(x / 10, y / 10, -((x / 10 - 0.2) ** 2)) for x in range(11) for y in range(11)]
    grid = bands(surface(points, 20, 20), BANDS, less_is_better=False)
    assert {row.index(max(row)) // 5 for row in grid} <= {0, 1}
    assert {band for row in grid for band in row} == set(range(BANDS))
    turned = bands(surface(points, 20, 20), BANDS, less_is_better=True)
    assert all(
        a + b == BANDS - 1 for one, two in zip(grid, turned, strict=True)
        for a, b in zip(one, two, strict=True)
    )  # fmt: skip
    assert surface(points[:2], 20, 20) == []
    assert bands(surface([(0.5, 0.5, 1.0)] * 3, 4, 4), BANDS, less_is_better=False) == [[0] * 4] * 4


def test_the_table_is_csv_that_no_spreadsheet_takes_for_formulas() -> None:
    parameters = {"lr": "-0.5", "layers": "3", "opt": "=cmd()"}
    failed = Trial(1, "t", "", "failed", parameters, {"accuracy": 0.5}, "-x, and more", 1.0, 3.5)
    header, row = table_of(study([failed])).splitlines()
    assert header == "number,trial,state,seconds,accuracy,latency,lr,layers,opt,message"
    assert row == """1,t,failed,2.5,0.5,,-0.5,3,'=cmd(),"'-x, and more\""""


def test_a_search_over_train_jobs_is_a_study_of_what_they_report() -> None:
    def ended(number: int, kind: str, **reported: str) -> dict[str, Any]:
        own = "trainer.kubeflow.org/optimization-"
        metrics = [{"name": key, "value": value} for key, value in reported.items()]
        done = {"type": kind, "status": "True", "message": "so it was"}
        return {
            "metadata": {
                "name": f"s-trial-{number}",
                "annotations": {f"{own}trial": str(number), f"{own}parameters": '{"lr": "0.1"}'},
            },
            "status": {"conditions": [done], "trainerStatus": {"metrics": metrics}},
        }

    space = {"logUniform": {"min": "1e-3", "max": "1", "type": "Float"}}
    job: dict[str, Any] = {
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {
            "objectives": [{"metric": "loss", "direction": "Minimize"}],
            "searchAlgorithm": {"random": {}},
            "parameters": [
                {"name": "lr", "searchSpace": space},
                {"name": "opt", "searchSpace": {"categorical": {"choices": ["adam", "sgd"]}}},
            ],
            "numTrials": 10,
        },
        "status": {"result": {"trainJobName": "s-trial-2"}},
    }
    jobs = [
        ended(10, "Complete"),
        ended(2, "Complete", loss="0.5", other="7"),
        ended(1, "Failed", loss="NaN"),
        {"metadata": {"name": "s-trial-3"}, "status": {"jobsStatus": [{"active": 1}]}},
    ]
    study = study_of_search(job, jobs)
    assert [(t.number, t.state) for t in study.trials] == [
        (1, "running"),
        (2, "failed"),
        (3, "succeeded"),
        (11, "unavailable"),
    ]
    assert study.best is not None
    assert study.best.metrics == {"loss": 0.5}
    assert study.scale("lr").log
    assert study.algorithm == "random"
    assert study.state == "running"
    assert "reported no loss" in study.trials[-1].message


def test_an_architecture_is_a_network_with_its_skips() -> None:
    embedding = {
        "3": {"opt_type": "convolution", "opt_params": {"filter_size": "5", "stride": "2"}},
        "7": {"opt_type": "reduction", "opt_params": {"pool_size": 2}},
    }
    config = {"input_sizes": [32, 32, 3], "output_sizes": [10], "embedding": embedding}
    rows = "[[3], [7, 1], [3, 1, 0], [3, 0, 1, 1]]"
    (network,) = networks_of({"architecture": rows, "nn_config": str(config)})
    titles = [layer.title for layer in network.layers]
    assert titles == [
        "input",
        "1  convolution",
        "2  reduction",
        "3  convolution",
        "4  convolution",
        "output",
    ]
    # The layer before is always taken; flags are of the input and the layers before that.
    takes = [layer.takes for layer in network.layers]
    assert takes == [(), (0,), (0, 1), (0, 2), (1, 2, 3), (4,)]
    assert network.layers[1].lines == ("filter size 5, stride 2",)
    assert network.layers[0].lines == ("32 by 32 by 3",)
    drawn = draw_network(network)
    assert drawn.count("<rect") == 6
    assert "takes 1  convolution, 2  reduction, 3  convolution" in drawn


def test_the_cells_that_a_trial_found_are_networks() -> None:
    line = (
        "Best-Genotype=Genotype(normal=[[('max_pooling_3x3', 0), ('max_pooling_3x3', 1)],"
        " [('skip_connection', 2), ('max_pooling_3x3', 0)]], normal_concat=range(2, 4),"
        " reduce=[[('max_pooling_3x3', 1), ('skip_connection', 0)]], reduce_concat=range(2, 3))"
    )
    normal, reduction = networks_in(["Genotype(normal=[[]])", line, "Best-Genotype printed"])
    assert normal.title == "Normal cell"
    assert [layer.takes for layer in normal.layers] == [(), (), (0, 1), (2, 0), (2, 3)]
    assert normal.layers[3].lines[0] == "skip connection of node 0"
    assert len(reduction.layers) == 4


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[1, 2]", "[[0], 5]", "[" * 5000, "__import__('os')", "[[0, {}]]"]
)
def test_what_is_no_network_is_not_drawn(text: str) -> None:
    assert networks_of({"architecture": text, "nn_config": "{'embedding': {}}"}) in ([], [ANY])
    assert networks_of({"architecture": "[[0]]", "nn_config": text}) == []
    assert networks_in([f"Genotype(normal={text}, reduce={text})"]) == []
