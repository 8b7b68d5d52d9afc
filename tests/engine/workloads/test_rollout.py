"""A rolling update keeps its two promises at every step, whatever pods do meanwhile."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.workloads.rollout import (
    DESIRED,
    MAXIMUM,
    is_rescaled,
    limits,
    recreate,
    rescale,
    roll,
)
from kubeling.kube.objects import Obj


def replica_set(name: str, replicas: int, available: int | None = None) -> Obj:
    ready = replicas if available is None else available
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas, "availableReplicas": ready},
    }


def deployment(replicas: int, surge: Any = "25%", unavailable: Any = "25%") -> Obj:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return {"spec": {"replicas": replicas, "strategy": strategy}}


def resize(sets: dict[str, Obj], sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        found = sets[name]
        found["spec"]["replicas"] = size
        found["status"]["availableReplicas"] = min(size, found["status"]["availableReplicas"])


shares = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda n: f"{n}%"))


@given(st.integers(1, 12), shares, shares, st.lists(st.booleans(), max_size=40))
def test_no_step_breaks_the_limits_and_the_end_is_reached(
    replicas: int, surge: Any, unavailable: Any, luck: list[bool]
) -> None:
    wanted = deployment(replicas, surge, unavailable)
    most_extra, most_missing = limits(wanted)
    old, new = replica_set("old", replicas), replica_set("new", 0)
    sets = {"old": old, "new": new}
    for starts in [*luck, *[True] * 4 * (replicas + 2)]:
        sizes = roll(wanted, new, [old])
        resize(sets, sizes)
        assert old["spec"]["replicas"] + new["spec"]["replicas"] <= replicas + most_extra
        available = sum(s["status"]["availableReplicas"] for s in sets.values())
        assert available >= replicas - most_missing
        if starts and new["status"]["availableReplicas"] < new["spec"]["replicas"]:
            new["status"]["availableReplicas"] += 1
    assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, replicas)


def test_the_limits_are_never_both_zero() -> None:
    assert limits(deployment(1, 0, 0)) == (0, 1)
    assert limits(deployment(4, "25%", "25%")) == (1, 1)
    assert limits(deployment(3, "25%", "25%")) == (1, 0)


def test_broken_old_pods_go_first() -> None:
    old, new = replica_set("old", 4, available=1), replica_set("new", 0)
    sizes = roll(deployment(4, 0, 1), new, [old])
    assert sizes == {"old": 3}


def test_recreate_waits_for_the_last_old_pod() -> None:
    wanted = deployment(2)
    old, new = replica_set("old", 2), replica_set("new", 0)
    assert recreate(wanted, new, [old], old_pods=2) == {"old": 0}
    old = replica_set("old", 0)
    assert recreate(wanted, new, [old], old_pods=1) == {}
    assert recreate(wanted, new, [old], old_pods=0) == {"new": 2}


def marked(title: str, replicas: int, desired: int, most: int) -> Obj:
    made = replica_set(title, replicas)
    made["metadata"]["annotations"] = {DESIRED: str(desired), MAXIMUM: str(most)}
    return made


def test_a_change_of_size_is_noticed_by_what_the_sets_were_made_for() -> None:
    assert is_rescaled(deployment(10), [marked("new", 4, 5, 6)])
    assert not is_rescaled(deployment(5), [marked("new", 4, 5, 6)])
    assert not is_rescaled(deployment(10), [marked("old", 0, 5, 6), replica_set("new", 1)])


def test_one_set_takes_it_all() -> None:
    assert rescale(deployment(5), replica_set("new", 3), [replica_set("old", 0)]) == {"new": 5}
    assert rescale(deployment(5), None, [replica_set("a", 0), replica_set("b", 0)]) == {"b": 5}
    assert rescale(deployment(5), replica_set("new", 0), [replica_set("old", 3)]) == {"old": 5}


def test_several_sets_keep_their_shares() -> None:
    old, new = marked("old", 8, 10, 13), marked("new", 5, 10, 13)
    assert rescale(deployment(15, 3, 2), new, [old]) == {"old": 11, "new": 7}
    assert rescale(deployment(5, 3, 2), new, [old]) == {"old": 5, "new": 3}
    assert rescale(deployment(0), new, [old]) == {"old": 0, "new": 0}


def test_a_rollout_that_was_done_anyway_is_ended_by_a_change_of_size() -> None:
    old, new = marked("old", 2, 5, 6), marked("new", 5, 5, 6)
    assert rescale(deployment(5), new, [old]) == {"old": 0}


@given(st.integers(0, 20), shares, st.integers(1, 20), st.integers(1, 20))
def test_whatever_the_shares_the_sum_is_what_may_be(
    wanted: int, surge: Any, first: int, second: int
) -> None:
    before = first + second
    old, new = marked("old", first, before, before), marked("new", second, before, before)
    made = deployment(wanted, surge)
    most = wanted + limits(made)[0] if wanted else 0
    sizes = {"old": first, "new": second} | rescale(made, new, [old])
    assert all(size >= 0 for size in sizes.values())
    assert sum(sizes.values()) == most
