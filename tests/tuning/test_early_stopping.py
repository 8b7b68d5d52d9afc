"""Which trials are stopped, as a function of what was reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.kube.objects import Obj
from kubeling.tuning.early_stopping import (
    EARLY_STOPPING,
    Curve,
    check_settings,
    compares_trials,
    rules_for,
    stop_reason,
)
from kubeling.tuning.metrics import Reading


def spec(algorithm: str, type_: str = "minimize", **settings: Any) -> Obj:
    return {
        "objective": {"type": type_, "objectiveMetricName": "loss"},
        "earlyStopping": {
            "algorithmName": algorithm,
            "algorithmSettings": [{"name": k, "value": str(v)} for k, v in settings.items()],
        },
    }


def reports(*values: float, metric: str = "loss") -> list[Reading]:
    return [Reading(metric, str(value)) for value in values]


def done(*values: float) -> Curve:
    return Curve(values, complete=True)


def rule(value: str, comparison: str = "greater", start: int = 2, name: str = "loss") -> Obj:
    return {"name": name, "value": value, "comparison": comparison, "startStep": start}


# medianstop


def test_the_rule_is_the_median_of_completed_trials_averages() -> None:
    curves = [done(1, 2), done(1, 3), done(100, 300), Curve((0.0,)), done()]
    median = spec("medianstop", min_trials_required=3, start_step=2)
    assert rules_for(median, lambda: curves) == [rule("2.0")]
    assert rules_for({**median, "objective": {**median["objective"], "type": "maximize"}},
                     lambda: curves) == [rule("2.0", "less")]  # fmt: skip


def test_there_is_no_rule_before_enough_trials_have_succeeded() -> None:
    assert rules_for(spec("medianstop"), lambda: [done(1), done(2), Curve((3.0,))]) == []


def test_nothing_is_compared_before_the_start_step_and_then_the_best_so_far() -> None:
    median = spec("medianstop")
    assert stop_reason(median, [rule("2")], reports(9)) is None
    assert stop_reason(median, [rule("2")], reports(9, 8))
    assert stop_reason(median, [rule("2")], reports(1, 8, 9)) is None


def test_a_trial_stops_when_every_rule_was_fulfilled_once() -> None:
    both = [rule("2"), rule("0.5", "less", 1, "accuracy")]
    readings = [*reports(9, 8), *reports(0.9, metric="accuracy")]
    assert stop_reason(spec("medianstop"), both, readings) is None
    readings += [*reports(0.4, metric="accuracy"), *reports(0.9, metric="accuracy")]
    reason = stop_reason(spec("medianstop"), both, readings)
    assert reason == (
        "the best loss 8 after 2 reports is greater than 2; accuracy 0.4 after 2 reports is less "
        "than 0.5"
    )


def test_without_rules_nothing_stops() -> None:
    assert stop_reason(spec("medianstop"), [], reports(9, 9, 9)) is None


# asha


def test_of_three_that_reach_a_rung_one_goes_on() -> None:
    asha = spec("asha", min_resource=2)
    assert stop_reason(asha, [], reports(5, 4), []) is None
    others = [Curve((3.0, 2.0)), Curve((9.0, 8.0, 7.0))]
    reason = stop_reason(asha, [], reports(5, 4), others)
    assert reason == "place 2 of 3 after 2 reports, and 1 go on"
    assert stop_reason(asha, [], reports(5, 1), others) is None


def test_between_rungs_nobody_is_judged() -> None:
    others = [Curve((0.0,) * 9)] * 5
    assert stop_reason(spec("asha", min_resource=3), [], reports(5, 4), others) is None
    assert (
        stop_reason(spec("asha", min_resource=3), [], reports(5, 4, 4, 4), others, asked=3) is None
    )
    assert stop_reason(spec("asha", min_resource=3), [], reports(5, 4, 4, 4), others)


@given(st.lists(st.integers(0, 10**6), min_size=9, max_size=40, unique=True))
def test_asha_lets_about_one_in_three_through(losses: list[int]) -> None:
    seen: list[Curve] = []
    through = []
    for loss in losses:
        if stop_reason(spec("asha"), [], reports(loss), seen) is None:
            through.append(loss)
        seen.append(Curve((float(loss),)))
    assert min(losses) in through
    assert max(losses) not in through or losses[0] == max(losses)


# percentile and patient


def test_only_the_best_quarter_goes_on() -> None:
    quarter = spec("percentile", start_step=2, min_trials_required=4)
    others = [done(9, loss) for loss in (1.0, 2.0, 3.0, 4.0)]
    assert stop_reason(quarter, [], reports(9), others) is None
    assert stop_reason(quarter, [], reports(9, 2), others)
    assert stop_reason(quarter, [], reports(9, 1), others) is None
    assert stop_reason(quarter, [], reports(9, 2), others[:3]) is None


def test_maximising_turns_every_comparison_around() -> None:
    quarter = spec("percentile", "maximize", start_step=1, min_trials_required=4)
    others = [done(score) for score in (1.0, 2.0, 3.0, 4.0)]
    assert stop_reason(quarter, [], reports(3), others)
    assert stop_reason(quarter, [], reports(4), others) is None
    assert stop_reason(spec("asha", "maximize"), [], reports(3), others)
    assert stop_reason(spec("asha", "maximize"), [], reports(5), others) is None


def test_patience_ends_when_no_report_is_better() -> None:
    patient = spec("patient", patience=2, min_delta=0.1)
    assert stop_reason(patient, [], reports(5, 4, 3)) is None
    assert stop_reason(patient, [], reports(5, 3, 3.5, 2.95))
    assert stop_reason(patient, [], reports(5, 3, 3.5, 2.5)) is None


@given(
    st.sampled_from(["asha", "percentile", "patient"]),
    st.sampled_from(["minimize", "maximize"]),
    st.lists(st.integers(0, 6), max_size=12),
    st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=6),
)
def test_a_restart_judges_the_steps_it_missed_as_they_would_have_been(
    name: str, direction: str, values: list[int], others: list[list[int]]
) -> None:
    judged = spec(name, direction)
    if name == "patient":
        judged = spec(name, direction, patience=2, min_delta=1)
    curves = [Curve(tuple(map(float, v)), complete=i % 2 == 0) for i, v in enumerate(others)]
    said = (
        stop_reason(judged, [], reports(*values[:step]), curves, asked=step - 1)
        for step in range(1, len(values) + 1)
    )
    first = next((reason for reason in said if reason), None)
    assert stop_reason(judged, [], reports(*values), curves) == first


def test_only_those_that_compare_need_the_others() -> None:
    assert [name for name in EARLY_STOPPING if compares_trials(spec(name))] == [
        "asha",
        "percentile",
    ]


@given(
    st.sampled_from(sorted(EARLY_STOPPING)),
    st.lists(st.floats(), max_size=12),
    st.lists(st.lists(st.floats(allow_nan=False), max_size=12), max_size=6),
)
def test_no_report_is_too_strange(
    name: str, values: list[float], others: Sequence[list[float]]
) -> None:
    curves = [Curve(tuple(v), complete=i % 2 == 0) for i, v in enumerate(others)]
    rules = rules_for(spec(name), lambda: curves)
    stop_reason(spec(name), rules, reports(*values), curves)


@pytest.mark.parametrize(
    ("name", "setting", "value", "message"),
    [
        ("medianstop", "min_trials_required", "0", "must be greater than zero (>0)"),
        ("medianstop", "start_step", "0", "start_step must be greater or equal than one (>=1)"),
        ("medianstop", "start_step", "x", "failed to validate start_step(x): "),
        ("medianstop", "patience", "1", "unknown setting patience for algorithm medianstop"),
        ("asha", "reduction_factor", "1", "reduction_factor must be greater or equal than two"),
        ("percentile", "percentile", "101", "percentile must be between 0 and 100"),
        ("patient", "min_delta", "nan", "min_delta must be greater or equal than zero"),
    ],
)
def test_settings_are_checked(name: str, setting: str, value: str, message: str) -> None:
    ((field, said),) = check_settings(name, {setting: value})
    assert field == setting
    assert message in said
