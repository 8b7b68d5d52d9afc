"""How requests are shared out."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kubeling.serving.gateway.splitting import Endpoint, Splitter
from kubeling.serving.traffic import RevisionRecord

A, B, C = Endpoint("a:1", "a"), Endpoint("b:1", "b"), Endpoint("c:1", "c")


def test_ten_requests_at_ten_percent_hold_exactly_one_for_the_canary() -> None:
    splitter = Splitter()
    weights, endpoints = {"new": 10, "old": 90}, {"new": [A], "old": [B]}
    for _ in range(5):
        turns = Counter(splitter.order(weights, endpoints)[0][0] for _ in range(10))
        assert turns == {"new": 1, "old": 9}


@given(st.integers(1, 99))
def test_a_hundred_requests_are_split_to_the_percent(percent: int) -> None:
    splitter = Splitter()
    weights, endpoints = {"new": percent, "old": 100 - percent}, {"new": [A], "old": [B]}
    turns = Counter(splitter.order(weights, endpoints)[0][0] for _ in range(100))
    assert turns["new"] == percent


def test_a_revision_without_ready_pods_or_weight_gets_nothing() -> None:
    splitter = Splitter()
    assert splitter.order({"new": 50, "old": 50}, {"new": [], "old": [B]}) == [("old", B)]
    assert splitter.order({"new": 0, "old": 100}, {"new": [A], "old": [B]}) == [("old", B)]
    assert splitter.order({"new": 100}, {}) == []


def test_the_pod_with_the_fewest_requests_in_flight_is_next() -> None:
    splitter = Splitter()
    endpoints = {"m": [A, B, C]}
    for endpoint in (A, A, B):
        splitter.started(endpoint)
    assert [e for _, e in splitter.order({"m": 100}, endpoints)] == [C, B, A]
    splitter.finished(A)
    splitter.finished(A)
    assert splitter.order({"m": 100}, endpoints)[-1][1] == B


def test_idle_pods_take_turns() -> None:
    splitter = Splitter()
    firsts = {splitter.order({"m": 100}, {"m": [A, B, C]})[0][1] for _ in range(3)}
    assert firsts == {A, B, C}


def test_a_pod_that_failed_is_asked_last_for_a_moment() -> None:
    splitter = Splitter()
    splitter.failed(A, now=10.0)
    asked = [[e for _, e in splitter.order({"m": 100}, {"m": [A, B]}, 11.9)] for _ in range(2)]
    assert asked == [[B, A], [B, A]]
    firsts = {splitter.order({"m": 100}, {"m": [A, B]}, 12.0)[0][1] for _ in range(2)}
    assert firsts == {A, B}


def test_a_pod_that_failed_is_not_counted_on_until_it_is_another_or_some_time_went_by() -> None:
    splitter = Splitter()
    splitter.failed(A, now=10.0)
    for now in (11.0, 14.9):
        splitter.order({"m": 100}, {"m": [A, B]}, now)
        assert splitter.reachable([A, B], now) == 1
    assert splitter.reachable([Endpoint("a:1", "a", restarts=1), B], 11.0) == 2
    assert splitter.reachable([A, B], 15.0) == 2


def test_what_a_canary_is_judged_by() -> None:
    record = RevisionRecord()
    for status in (200, 200, 400, 500):
        record.add(status, 0.010)
    assert record.to_json() == {
        "requests": 4,
        "errors": 1,
        "statuses": {"200": 2, "400": 1, "500": 1},
        "recent": {"minutes": 5, "requests": 4, "errors": 1},
        "p50_ms": 10.0,
        "p99_ms": 10.0,
    }


def test_errors_of_long_ago_are_no_recent_ones() -> None:
    now = 0.0
    record = RevisionRecord(clock=lambda: now)
    record.add(500, 0.01)
    now = 200.0
    record.add(200, 0.01)
    assert record.recent() == (2, 1)
    now = 301.0
    assert record.recent() == (1, 0)
    assert (record.requests, record.errors) == (2, 1)
