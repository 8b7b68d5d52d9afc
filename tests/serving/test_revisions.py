"""Canary, promotion and rollback, as a sequence of what a user does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubeling.serving.revisions import History, Revision, Rollout, plan_replicas, plan_rollout


def revision(number: int, ready: bool = True) -> Revision:
    return Revision(f"m-{number}", number, ready)


def split(rollout: Rollout) -> dict[str, int]:
    return {share.revision: share.percent for share in rollout.shares}


def test_the_first_revision_gets_everything_once_it_is_ready() -> None:
    waiting = plan_rollout(revision(1, ready=False), {}, History(), None)
    assert split(waiting) == {}
    assert waiting.history == History()
    rolled_out = plan_rollout(revision(1), {}, History(), None)
    assert split(rolled_out) == {"m-1": 100}
    assert rolled_out.history == History("m-1", "")


def test_a_first_revision_with_a_percentage_has_nobody_to_share_with() -> None:
    assert split(plan_rollout(revision(1), {}, History(), 10)) == {"m-1": 100}


def test_a_new_revision_gets_nothing_before_it_is_ready() -> None:
    rollout = plan_rollout(revision(2, ready=False), {"m-1": revision(1)}, History("m-1"), 10)
    assert split(rollout) == {"m-1": 100}
    assert rollout.waiting
    assert rollout.running == {"m-1", "m-2"}


def test_a_canary_gets_its_percentage() -> None:
    rollout = plan_rollout(revision(2), {"m-1": revision(1)}, History("m-1"), 10)
    assert split(rollout) == {"m-2": 10, "m-1": 90}
    assert [share.tag for share in rollout.shares] == ["", "prev"]
    assert rollout.history == History("m-1")
    assert rollout.primary == "m-1"


def test_removing_the_percentage_promotes() -> None:
    for percent in (None, 100):
        rollout = plan_rollout(revision(2), {"m-1": revision(1)}, History("m-1"), percent)
        assert split(rollout) == {"m-2": 100}
        assert rollout.history == History("m-2", "m-1")
        assert rollout.running == {"m-2"}
        assert rollout.kept == {"m-1", "m-2"}


def test_zero_takes_the_canary_out_without_forgetting_it() -> None:
    rollout = plan_rollout(revision(2), {"m-1": revision(1)}, History("m-1"), 0)
    assert split(rollout) == {"m-2": 0, "m-1": 100}


def test_zero_after_promotion_goes_back_to_the_one_before() -> None:
    history = History("m-2", "m-1")
    starting = plan_rollout(revision(2), {"m-1": revision(1, ready=False)}, history, 0)
    assert split(starting) == {"m-2": 100}
    assert "m-1" in starting.running
    back = plan_rollout(revision(2), {"m-1": revision(1)}, history, 0)
    assert split(back) == {"m-2": 0, "m-1": 100}


def test_going_back_to_what_ran_before_is_a_promotion_of_it() -> None:
    rollout = plan_rollout(revision(1), {"m-2": revision(2)}, History("m-2", "m-1"), None)
    assert split(rollout) == {"m-1": 100}
    assert rollout.history == History("m-1", "m-2")


def test_a_third_revision_shares_with_the_promoted_one_and_the_first_is_let_go() -> None:
    others = {"m-1": revision(1, ready=False), "m-2": revision(2)}
    rollout = plan_rollout(revision(3), others, History("m-2", "m-1"), None)
    assert rollout.kept == {"m-2", "m-3"}


def test_replicas_of_a_canary_are_its_share_of_all() -> None:
    rollout = plan_rollout(revision(2), {"m-1": revision(1)}, History("m-1"), 10)
    assert plan_replicas(rollout, "m-2", 1) == {"m-1": 1, "m-2": 1}
    assert plan_replicas(rollout, "m-2", 10) == {"m-1": 9, "m-2": 1}
    waiting = plan_rollout(revision(2, ready=False), {"m-1": revision(1)}, History("m-1"), 30)
    assert plan_replicas(waiting, "m-2", 10) == {"m-1": 10, "m-2": 3}


@given(
    latest_ready=st.booleans(),
    other_ready=st.booleans(),
    percent=st.none() | st.integers(0, 100),
    wanted=st.integers(0, 20),
    history=st.sampled_from([History(), History("m-1"), History("m-2", "m-1")]),
)
def test_shares_are_whole_and_every_revision_with_one_has_pods(
    latest_ready: bool, other_ready: bool, percent: int | None, wanted: int, history: History
) -> None:
    rollout = plan_rollout(
        revision(2, latest_ready), {"m-1": revision(1, other_ready)}, history, percent
    )
    replicas = plan_replicas(rollout, "m-2", wanted)
    assert sum(split(rollout).values()) in (0, 100)
    assert all(replicas[r] >= 1 for r in split(rollout))
    assert rollout.running <= rollout.kept
    assert sum(replicas.values()) >= wanted
