"""What a DaemonSet does on its nodes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kubeling.engine.workloads.daemon_plan import (
    Place,
    daemon_pod,
    daemon_status,
    node_of,
    places_of,
    tend,
    update,
)
from kubeling.kube.objects import Obj, name

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}


def daemon_set(rolling: Obj | None = None, *, min_ready: int = 0, **template: Any) -> Obj:
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling or {"maxUnavailable": 1}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default", "uid": "set", "generation": 2},
        "spec": {
            "updateStrategy": strategy,
            "minReadySeconds": min_ready,
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": template},
        },
    }


def node(title: str = "a", *taints: Obj, **labels: str) -> Obj:
    return {"metadata": {"name": title, "labels": labels}, "spec": {"taints": list(taints)}}


def pod(title: str, where: str = "a", *, phase: str = "Running", going: bool = False) -> Obj:
    """``N…`` are new and ready, ``O…`` old and ready; small letters are not ready."""
    metadata: Obj = {
        "name": title,
        "namespace": "default",
        "creationTimestamp": f"2025-12-31T23:00:0{title[1:] or 0}Z",
        "labels": {"controller-revision-hash": "new" if title[0] in "nN" else "old"},
    }
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = {
        "type": "Ready",
        "status": str(title[0].isupper()),
        "lastTransitionTime": "2025-12-31T23:59:50Z",
    }
    status = {"phase": phase, "conditions": [ready]}
    return {"metadata": metadata, "spec": {"nodeName": where}, "status": status}


def places(text: str) -> list[Place]:
    """Places by what is there: ``O|n1 O2|`` are three nodes, the last of them empty."""
    return [
        Place(str(index), True, True, [pod(title, str(index)) for title in titles.split()])
        for index, titles in enumerate(text.split("|"))
    ]


@pytest.mark.parametrize(
    ("spec", "taints", "start", "stay"),
    [
        ({}, [], True, True),
        ({}, [TAINT], False, True),
        ({}, [{**TAINT, "effect": "NoExecute"}], False, False),
        ({}, [{**TAINT, "effect": "PreferNoSchedule"}], True, True),
        ({"tolerations": [{"operator": "Exists"}]}, [TAINT], True, True),
        ({}, [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], True, True),
        ({}, [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}], True, True),
        ({"nodeSelector": {"disk": "ssd"}}, [], False, False),
        ({"nodeName": "b"}, [], False, False),
        ({"nodeName": "a"}, [], True, True),
    ],
)
def test_where_pods_may_start_and_stay(
    spec: Obj, taints: list[Obj], start: bool, stay: bool
) -> None:
    [place] = places_of(daemon_set(**spec), [node("a", *taints)], [])
    assert (place.may_start, place.may_stay) == (start, stay)


def test_a_required_affinity_chooses_the_nodes() -> None:
    term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    owner = daemon_set(affinity={"nodeAffinity": required})
    found = places_of(owner, [node("a", disk="ssd"), node("b")], [])
    assert [place.may_start for place in found] == [True, False]


def test_daemons_are_bound_to_their_node_and_stand_its_troubles() -> None:
    made = daemon_pod(daemon_set(hostNetwork=True), "a", "new")
    assert node_of(made) == "a"
    assert {(t["key"].partition("/")[2], t["effect"]) for t in made["spec"]["tolerations"]} == {
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    }


@pytest.mark.parametrize(
    ("rolling", "there", "created", "deleted"),
    [
        ({"maxUnavailable": 1}, "", ["0"], []),
        ({"maxUnavailable": 1}, "N", [], []),
        ({"maxUnavailable": 1}, "N1 N2 N3", [], ["N2", "N3"]),
        ({"maxSurge": 1, "maxUnavailable": 0}, "O1 n2", [], []),
        ({"maxSurge": 1, "maxUnavailable": 0}, "O1 N2", [], ["O1"]),
        ({"maxSurge": 1, "maxUnavailable": 0}, "o1 n2", [], ["o1"]),
        ({"maxSurge": 1, "maxUnavailable": 0}, "O1 O2 n3", [], ["O2"]),
    ],
)
def test_a_node_has_one_pod_or_two_while_one_replaces_the_other(
    rolling: Obj, there: str, created: list[str], deleted: list[str]
) -> None:
    todo = tend(daemon_set(rolling), places(there), "new", NOW)
    assert (todo.create, sorted(map(name, todo.delete))) == (created, deleted)


def test_pods_leave_nodes_they_must_not_be_on() -> None:
    todo = tend(daemon_set(), [Place("a", False, False, [pod("N")])], "new", NOW)
    assert [name(gone) for gone in todo.delete] == ["N"]
    assert tend(daemon_set(), [Place("a", False, True, [pod("N")])], "new", NOW).delete == []


def test_a_new_pod_waits_for_the_old_one_to_be_gone() -> None:
    going = [Place("a", True, True, [pod("N", going=True)])]
    assert tend(daemon_set(), going, "new", NOW).create == []
    assert tend(daemon_set({"maxSurge": 1}), going, "new", NOW).create == ["a"]


def test_pods_that_ended_are_removed() -> None:
    todo = tend(daemon_set(), [Place("a", True, True, [pod("n", phase="Failed")])], "new", NOW)
    assert [name(gone) for gone in todo.ended] == ["n"]
    assert todo.create == []


@pytest.mark.parametrize(
    ("rolling", "there", "created", "deleted"),
    [
        ({"maxUnavailable": 1}, "O1|O2|O3", [], ["O1"]),
        ({"maxUnavailable": 2}, "O1|O2|O3", [], ["O1", "O2"]),
        ({"maxUnavailable": "50%"}, "O1|O2|O3", [], ["O1", "O2"]),
        ({"maxUnavailable": 1}, "n1|O2|O3", [], []),
        ({"maxUnavailable": 1}, "|O2|O3", [], []),
        ({"maxUnavailable": 1}, "o1|O2|o3", [], ["o1", "o3"]),
        ({"maxSurge": 1, "maxUnavailable": 0}, "O1|O2|O3", ["0"], []),
        ({"maxSurge": 2, "maxUnavailable": 0}, "O1|n2 O3|O4", ["0"], []),
        ({"maxSurge": 1, "maxUnavailable": 0}, "O1|n2 O3|O4", [], []),
        ({"maxSurge": 1, "maxUnavailable": 0}, "o1|n2 O3|O4", ["0"], []),
        ({"maxSurge": 1, "maxUnavailable": 0}, "O1|N2 O3|N4", ["0"], ["O3"]),
    ],
)
def test_a_rolling_update(rolling: Obj, there: str, created: list[str], deleted: list[str]) -> None:
    todo = update(daemon_set(rolling), places(there), "new", NOW)
    assert (todo.create, sorted(map(name, todo.delete))) == (created, deleted)


def test_an_update_waits_until_new_pods_are_available() -> None:
    fresh, other = places("N1|O2")
    other.pods[0]["status"]["conditions"][0]["lastTransitionTime"] = "2025-12-31T00:00:00Z"
    assert update(daemon_set(min_ready=60), [fresh, other], "new", NOW).delete == []
    assert update(daemon_set(min_ready=5), [fresh, other], "new", NOW).delete == [other.pods[0]]


def test_a_surging_set_leaves_a_node_when_there_are_enough_on_others() -> None:
    owner = daemon_set({"maxSurge": 1, "maxUnavailable": 0})
    leaving = Place("old", False, True, [pod("O1", "old")])
    arriving = Place("new", True, True, [pod("n2", "new")])
    assert update(owner, [leaving, arriving], "new", NOW).delete == []
    arrived = Place("new", True, True, [pod("N2", "new")])
    assert [name(p) for p in update(owner, [leaving, arrived], "new", NOW).delete] == ["O1"]


def test_nothing_is_replaced_on_delete_only() -> None:
    owner = daemon_set()
    owner["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert update(owner, places("O1|o2"), "new", NOW).delete == []


def test_the_oldest_pod_of_a_node_counts() -> None:
    found = [*places("O1 n2|N1|"), Place("b", False, True, [pod("N", "b")])]
    assert daemon_status(daemon_set(min_ready=0), found, "new", NOW) == {
        "currentNumberScheduled": 2,
        "numberMisscheduled": 1,
        "desiredNumberScheduled": 3,
        "numberReady": 2,
        "numberAvailable": 2,
        "numberUnavailable": 1,
        "updatedNumberScheduled": 1,
        "observedGeneration": 2,
    }
