"""What a StatefulSet does next, and whose its volume claims are."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kubeling.engine.workloads.stateful_claims import is_stale, owners_of
from kubeling.engine.workloads.stateful_plan import StatefulPlan, plan, stateful_status
from kubeling.kube.objects import Obj, name

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def stateful_set(replicas: int = 3, **spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "default", "uid": "set", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, **spec},
    }


def pod(ordinal: int, revision: str = "new", *, ready: bool = True, **more: Any) -> Obj:
    metadata: Obj = {"name": f"web-{ordinal}", "uid": f"pod-{ordinal}"}
    if more.get("going"):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [
        {"type": "Ready", "status": str(ready), "lastTransitionTime": "2025-12-31T23:59:50Z"}
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "labels": {"controller-revision-hash": revision}},
        "spec": {},
        "status": {"phase": more.get("phase", "Running"), "conditions": conditions},
    }


def next_step(owner: Obj, pods: dict[int, Obj]) -> tuple[dict[int, str], list[str]]:
    todo: StatefulPlan = plan(owner, pods, "old", "new", NOW)
    return todo.create, [name(gone) for gone in todo.delete]


def pods_of(text: str) -> dict[int, Obj]:
    """One letter a pod: ``N`` new, ``O`` old, ``n``/``o`` the same not ready, ``-`` none."""
    return {
        ordinal: pod(ordinal, "new" if letter in "nN" else "old", ready=letter.isupper())
        for ordinal, letter in enumerate(text)
        if letter != "-"
    }


PARALLEL = {"podManagementPolicy": "Parallel"}


def rolling(**fields: Any) -> Obj:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": fields}}


@pytest.mark.parametrize(
    ("spec", "pods", "created", "deleted"),
    [
        # Made one after the other, each when the one before it is ready.
        ({}, "", [0], []),
        ({}, "N", [1], []),
        ({}, "n", [], []),
        ({}, "N-N", [1], []),
        (PARALLEL, "", [0, 1, 2], []),
        (PARALLEL, "n-N", [1], []),
        # Removed one after the other, the highest first, when all that stay are ready.
        ({}, "NNNNN", [], [4]),
        ({}, "NnNNN", [], []),
        (PARALLEL, "NnNNN", [], [4, 3]),
        # What is ill goes only when what it may wait for is well: the lowest of the ill first.
        ({}, "NNNNn", [], [4]),
        ({}, "NNNnn", [], []),
        ({}, "NNNnN", [], [4]),
        # Updates go down from the last, one at a time, and wait for what is not ready.
        ({}, "OOO", [], [2]),
        ({}, "OON", [], [1]),
        ({}, "OOn", [], []),
        ({}, "oOO", [], []),
        (rolling(partition=2), "OOO", [], [2]),
        (rolling(partition=2), "OON", [], []),
        ({"updateStrategy": {"type": "OnDelete"}}, "OOO", [], []),
        # With maxUnavailable several are away at once, whatever their revision.
        (rolling(maxUnavailable=2), "OOO", [], [2, 1]),
        (rolling(maxUnavailable="50%"), "OOO", [], [2]),
        (rolling(maxUnavailable="10%"), "OOO", [], [2]),
        (rolling(maxUnavailable=2) | PARALLEL, "OOn", [], [1]),
        (rolling(maxUnavailable=2) | PARALLEL, "oOn", [], []),
        (rolling(maxUnavailable=3, partition=1) | PARALLEL, "OOO", [], [2, 1]),
        (rolling(maxUnavailable=2) | PARALLEL, "OO-", [2], [1]),
        # What is below the partition comes back as it was.
        (rolling(partition=2), "-OO", [0], []),
    ],
)
def test_the_next_step(spec: Obj, pods: str, created: list[int], deleted: list[int]) -> None:
    create, delete = next_step(stateful_set(**spec), pods_of(pods))
    assert sorted(create) == created
    assert delete == [f"web-{ordinal}" for ordinal in deleted]


def test_what_is_below_the_partition_keeps_its_revision() -> None:
    spec = rolling(partition=1) | PARALLEL
    assert next_step(stateful_set(2, **spec), {})[0] == {0: "old", 1: "new"}
    spec |= {"ordinals": {"start": 5}}
    assert next_step(stateful_set(2, **spec), {})[0] == {5: "old", 6: "new"}


def test_pods_outside_the_ordinals_go() -> None:
    owner = stateful_set(2, ordinals={"start": 1})
    assert next_step(owner, pods_of("NNN"))[1] == ["web-0"]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ended_is_replaced(phase: str) -> None:
    ended = {0: pod(0, ready=False, phase=phase)}
    assert next_step(stateful_set(1), ended) == ({}, ["web-0"])
    assert next_step(stateful_set(1), {0: pod(0, ready=False, phase=phase, going=True)})[1] == []


def test_nothing_happens_while_a_pod_goes() -> None:
    assert next_step(stateful_set(), {**pods_of("OO"), 2: pod(2, "old", going=True)}) == ({}, [])


def test_pods_that_wait_may_lack_claims() -> None:
    waiting = {0: pod(0, ready=False, phase="Pending")}
    assert plan(stateful_set(), waiting, "old", "new", NOW).waiting == [0]


def test_pods_are_waited_for_until_they_are_available() -> None:
    assert next_step(stateful_set(minReadySeconds=11), pods_of("N")) == ({}, [])
    assert next_step(stateful_set(minReadySeconds=10), pods_of("N"))[0] == {1: "new"}


def test_the_status_counts_what_goes_among_the_replicas_but_not_by_revision() -> None:
    pods = {**pods_of("OO"), 2: pod(2, going=True)}
    status = stateful_status(stateful_set(), pods, "old", "new", NOW)
    assert status == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "currentReplicas": 2,
        "currentRevision": "old",
        "updateRevision": "new",
        "collisionCount": 0,
    }


def test_a_finished_rolling_update_makes_its_revision_the_current_one() -> None:
    status = stateful_status(stateful_set(), pods_of("NNN"), "old", "new", NOW)
    assert (status["currentRevision"], status["currentReplicas"]) == ("new", 3)
    on_delete = stateful_set(updateStrategy={"type": "OnDelete"})
    status = stateful_status(on_delete, pods_of("NNN"), "old", "new", NOW)
    assert (status["currentRevision"], status["updatedReplicas"]) == ("old", 3)


# Claims.


def retaining(when_deleted: str, when_scaled: str) -> Obj:
    policy = {"whenDeleted": when_deleted, "whenScaled": when_scaled}
    return stateful_set(2, persistentVolumeClaimRetentionPolicy=policy)


def owned(*owners: tuple[str, str, str]) -> Obj:
    versions = {"StatefulSet": "apps/v1", "Pod": "v1"}
    references = [
        {
            "apiVersion": versions.get(kind, "example.com/v1"),
            "kind": kind,
            "name": title,
            "uid": uid_,
            "controller": True,
        }
        for kind, title, uid_ in owners
    ]
    return {"metadata": {"name": "data-web-1", "ownerReferences": references}}


SET, POD = ("StatefulSet", "web", "set"), ("Pod", "web-1", "pod-1")


@pytest.mark.parametrize(
    ("policy", "replicas", "owners"),
    [
        (("Retain", "Retain"), 2, []),
        (("Delete", "Retain"), 2, ["set"]),
        (("Delete", "Retain"), 1, ["set"]),
        (("Retain", "Delete"), 2, []),
        (("Retain", "Delete"), 1, ["pod-1"]),
        (("Delete", "Delete"), 2, ["set"]),
        (("Delete", "Delete"), 1, ["pod-1"]),
    ],
)
def test_claims_go_with_what_the_policy_says(
    policy: tuple[str, str], replicas: int, owners: list[str]
) -> None:
    owner = retaining(*policy)
    owner["spec"]["replicas"] = replicas
    for before in (owned(), owned(SET), owned(POD)):
        found = owners_of(before, owner, pod(1), 1)
        if found is None:
            found = before["metadata"]["ownerReferences"]
        assert [reference["uid"] for reference in found] == owners
        assert all(reference["controller"] for reference in found)


def test_claims_that_others_control_are_left_alone() -> None:
    foreign = ("Backup", "nightly", "other")
    assert owners_of(owned(foreign), retaining("Delete", "Delete"), pod(1), 1) is None
    found = owners_of(owned(foreign, SET), retaining("Delete", "Delete"), pod(1), 1)
    assert found is not None
    assert [reference["uid"] for reference in found] == ["other"]


def test_claims_of_an_earlier_namesake_are_left_to_the_garbage_collector() -> None:
    earlier = owned(("StatefulSet", "web", "earlier"))
    assert owners_of(earlier, retaining("Delete", "Retain"), pod(1), 1) is None


def test_a_new_pod_waits_for_the_claim_of_the_old_one_to_go() -> None:
    assert is_stale(owned(POD), retaining("Retain", "Delete"), "web-1")
    assert not is_stale(owned(POD), retaining("Retain", "Retain"), "web-1")
    assert not is_stale(owned(SET), retaining("Delete", "Delete"), "web-1")
