"""A rolling update keeps its two promises at every step, whatever pods do meanwhile."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.workloads.rollout import limits, recreate, roll, scale_paused
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


def test_a_paused_deployment_still_scales() -> None:
    sets = [replica_set("old", 2), replica_set("new", 1)]
    assert scale_paused(deployment(5), sets) == {"new": 3}
