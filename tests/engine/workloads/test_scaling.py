"""How fast an autoscaler acts: bounds, windows, policies."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.workloads.scaling import Change, History, normalize
from kubeling.kube.objects import Obj

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DEFAULT_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
DEFAULT_DOWN = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def spec(low: int = 1, high: int = 100, **behavior: Obj) -> Obj:
    found: Obj = {"minReplicas": low, "maxReplicas": high}
    if behavior:
        found["behavior"] = {"scaleUp": DEFAULT_UP, "scaleDown": DEFAULT_DOWN, **behavior}
    return found


def ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def replicas(found: Obj, current: int, wanted: int, history: History | None = None) -> int:
    return normalize(found, current, wanted, history or History(), NOW).replicas


def rules(select: str = "Max", window: int = 0, **policies: tuple[int, int]) -> Obj:
    listed = [
        {"type": kind, "value": value, "periodSeconds": period}
        for kind, (value, period) in policies.items()
    ]
    return {
        "stabilizationWindowSeconds": window, "selectPolicy": select, "policies": listed,
    }  # fmt: skip


@pytest.mark.parametrize(("current", "reached"), [(1, 4), (2, 4), (3, 6), (10, 20)])
def test_without_behavior_a_step_up_doubles_at_most_or_reaches_four(
    current: int, reached: int
) -> None:
    made = normalize(spec(), current, 50, History(), NOW)
    assert (made.replicas, made.limited, made.limit.reason) == (reached, True, "ScaleUpLimit")


def test_the_bounds_are_told_apart_from_the_rates() -> None:
    assert normalize(spec(high=5), 4, 50, History(), NOW).limit.reason == "TooManyReplicas"
    assert normalize(spec(low=2), 4, 1, History(), NOW).limit.reason == "TooFewReplicas"
    made = normalize(spec(), 4, 4, History(), NOW)
    assert (made.limited, made.limit.reason) == (False, "DesiredWithinRange")
    assert made.able.reason == "ReadyForNewScale"


def test_shrinking_waits_until_it_has_been_wanted_for_five_minutes() -> None:
    history = History()
    start = NOW - dt.timedelta(seconds=360)
    assert normalize(spec(), 5, 5, history, start).replicas == 5
    calmed = normalize(spec(), 5, 2, history, start + dt.timedelta(seconds=60))
    assert (calmed.replicas, calmed.able.reason) == (5, "ScaleDownStabilized")
    assert normalize(spec(), 5, 2, history, start + dt.timedelta(seconds=301)).replicas == 2


def test_a_window_upwards_takes_the_lowest_recommendation() -> None:
    found = spec(scaleUp=rules(window=60, Pods=(50, 15)))
    history = History([(ago(30), 3)])
    made = normalize(found, 2, 9, history, NOW)
    assert (made.replicas, made.able.reason) == (3, "ScaleUpStabilized")
    assert replicas(found, 2, 9, History([(ago(61), 3)])) == 9


def test_a_window_of_nothing_shrinks_at_once() -> None:
    found = spec(scaleDown=rules(window=0, Percent=(100, 15)))
    assert replicas(found, 9, 2, History([(ago(10), 9)])) == 2


@pytest.mark.parametrize(
    ("select", "reached"),
    [("Max", 14), ("Min", 12), ("Disabled", 10)],
)
def test_policies_upwards_are_chosen_between(select: str, reached: int) -> None:
    found = spec(scaleUp=rules(select, Pods=(4, 60), Percent=(20, 60)))
    assert replicas(found, 10, 50) == reached


@pytest.mark.parametrize(
    ("select", "reached"),
    [("Max", 6), ("Min", 8), ("Disabled", 10)],
)
def test_policies_downwards_are_chosen_between(select: str, reached: int) -> None:
    found = spec(scaleDown=rules(select, Pods=(4, 60), Percent=(20, 60)))
    made = normalize(found, 10, 1, History(), NOW)
    assert made.replicas == reached
    assert made.limit.reason == "ScaleDownLimit"


def test_what_was_done_within_the_period_counts() -> None:
    found = spec(scaleUp=rules(Pods=(4, 60)))
    assert replicas(found, 6, 50, History(changes=[Change(ago(30), 4)])) == 6
    assert replicas(found, 6, 50, History(changes=[Change(ago(61), 4)])) == 10
    # Growth after a cut begins where the period began.
    assert replicas(found, 6, 50, History(changes=[Change(ago(30), -3)])) == 13


def test_a_percentage_upwards_is_rounded_so_that_it_always_moves() -> None:
    found = spec(scaleUp=rules(Percent=(10, 60)))
    assert replicas(found, 1, 9) == 2


behaviors: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        {},
        {"scaleUp": rules("Min", 60, Pods=(1, 30), Percent=(10, 60))},
        {"scaleDown": rules("Disabled", 0, Pods=(1, 30))},
        {"scaleDown": rules("Min", 120, Pods=(2, 60), Percent=(50, 90))},
    ]
)
moments = st.integers(0, 400).map(ago)


@given(
    behaviors,
    st.integers(1, 10),
    st.integers(0, 20),
    st.integers(0, 30),
    st.integers(0, 60),
    st.lists(st.tuples(moments, st.integers(0, 30)), max_size=6),
    st.lists(st.builds(Change, moments, st.integers(-5, 5)), max_size=6),
)
def test_the_replicas_stay_within_bounds_and_never_move_against_the_recommendation(
    behavior: Obj | None,
    low: int,
    span: int,
    above: int,
    wanted: int,
    recommended: list[tuple[dt.datetime, int]],
    changes: list[Change],
) -> None:
    high = low + span
    current = min(low + above, high)
    found = spec(low, high) if behavior is None else spec(low, high, scaleUp=DEFAULT_UP)
    if behavior:
        found["behavior"].update(behavior)
    recommended = [(at, min(max(n, low), high)) for at, n in recommended]
    made = normalize(found, current, wanted, History(recommended, changes), NOW)
    assert low <= made.replicas <= high
    if behavior is not None:
        assert min(current, wanted) <= made.replicas <= max(current, wanted, low)
