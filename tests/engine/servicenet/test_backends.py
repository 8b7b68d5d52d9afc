"""Which pod a caller of a Service is led to."""

from __future__ import annotations

from kubeling.engine.servicenet.backends import Backends
from kubeling.engine.servicenet.routes import affinity_seconds

A, B, C = ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_callers_take_turns_and_know_the_others_in_case_one_fails() -> None:
    backends = Backends([A, B, C])
    assert backends.for_caller("x") == [A, B, C]
    assert backends.for_caller("x") == [B, C, A]
    assert Backends().for_caller("x") == []


def test_with_affinity_a_caller_comes_back_to_its_pod_until_it_stays_away() -> None:
    clock = Clock()
    backends = Backends([A, B], affinity=100, now=clock)
    backends.led("x", B)
    for _ in range(3):
        clock.now += 90
        assert backends.for_caller("x")[0] == B
        backends.led("x", B)
    clock.now += 101
    assert {backends.for_caller("x")[0] for _ in range(2)} == {A, B}


def test_a_kept_pod_that_has_gone_is_replaced() -> None:
    backends = Backends([A, B], affinity=100)
    backends.led("x", B)
    backends.places = (A,)
    assert backends.for_caller("x") == [A]


def test_places_a_caller_may_not_be_led_to_do_not_exist_for_it() -> None:
    backends = Backends([A, B], admits=lambda source, place: source == "friend" or place == B)
    assert backends.for_caller("stranger") == [B]
    assert set(backends.for_caller("friend")) == {A, B}


def test_affinity_is_asked_for_by_the_service() -> None:
    assert affinity_seconds({"spec": {"sessionAffinity": "None"}}) == 0
    assert affinity_seconds({"spec": {"sessionAffinity": "ClientIP"}}) == 10800
    config = {"clientIP": {"timeoutSeconds": 5}}
    wanted = {"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}}
    assert affinity_seconds(wanted) == 5
