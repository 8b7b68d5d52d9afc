"""What fits on the node."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kubeling.engine.podspec import pod_requests, qos_class
from kubeling.engine.preemption import preempt
from kubeling.engine.scheduler import Ledger, refusal, unschedulable_reason
from kubeling.kube.objects import Key, Obj

NODE: Obj = {"metadata": {"name": "n", "labels": {"disk": "ssd", "size": "8"}}}


def pod(name: str = "p", cpu: str = "1", **spec: object) -> Obj:
    containers = [{"name": "m", "resources": {"requests": {"cpu": cpu}}}]
    return {"metadata": {"name": name, "uid": name}, "spec": {"containers": containers, **spec}}


def ledger(cpu: int = 2, pods: int = 10) -> Ledger:
    return Ledger({"cpu": Decimal(cpu), "pods": Decimal(pods)})


def test_a_pod_takes_its_share_until_it_is_released() -> None:
    book = ledger()
    book.hold(pod("a", "1500m"))
    why = unschedulable_reason(pod("b"), NODE, book)
    assert why == "0/1 nodes are available: 1 Insufficient cpu."
    assert book.release("a")
    assert not book.release("a")
    assert unschedulable_reason(pod("b"), NODE, book) == ""


def test_the_number_of_pods_is_limited_too() -> None:
    book = ledger(pods=1)
    book.hold(pod("a", "0"))
    assert unschedulable_reason(pod("b", "0"), NODE, book) == (
        "0/1 nodes are available: 1 Too many pods."
    )


def test_a_gate_holds_a_pod_back() -> None:
    gated = pod(schedulingGates=[{"name": "example.com/wait"}])
    assert unschedulable_reason(gated, NODE, ledger()) == (
        "Scheduling is blocked due to non-empty scheduling gates"
    )


@pytest.mark.parametrize(
    ("operator", "key", "values", "fits"),
    [
        ("In", "disk", ["ssd", "hdd"], True),
        ("NotIn", "disk", ["ssd"], False),
        ("Exists", "disk", [], True),
        ("DoesNotExist", "disk", [], False),
        ("Gt", "size", ["4"], True),
        ("Lt", "size", ["4"], False),
    ],
)
def test_node_affinity(operator: str, key: str, values: list[str], fits: bool) -> None:
    expression = {"key": key, "operator": operator, "values": values}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    assert (unschedulable_reason(pod(affinity=affinity), NODE, ledger()) == "") is fits


def test_init_containers_count_at_their_peak_and_sidecars_throughout() -> None:
    def asks(name: str, cpu: str, **more: str) -> Obj:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [asks("side", "1", restartPolicy="Always"), asks("init", "3")],
        "containers": [asks("a", "1"), asks("b", "500m")],
        "overhead": {"cpu": "100m"},
    }
    assert pod_requests({"spec": spec}) == {"cpu": Decimal("4.1")}


def test_limits_stand_in_for_requests() -> None:
    containers = [{"name": "m", "resources": {"limits": {"nvidia.com/gpu": 2}}}]
    assert pod_requests({"spec": {"containers": containers}}) == {"nvidia.com/gpu": Decimal(2)}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}},
            "Guaranteed",
        ),
    ],
)
def test_quality_of_service(resources: Obj, expected: str) -> None:
    assert qos_class({"spec": {"containers": [{"resources": resources}]}}) == expected


def refused(found: Obj, node: Obj = NODE, others: tuple[Obj, ...] = ()) -> str:
    book = ledger(cpu=100)
    for other in others:
        book.hold(other)
    return unschedulable_reason(found, node, book).removeprefix("0/1 nodes are available: ")


def tainted(*taints: tuple[str, str, str], **spec: Any) -> Obj:
    listed = [{"key": key, "value": value, "effect": effect} for key, value, effect in taints]
    return {**NODE, "spec": {"taints": listed, **spec}}


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({}, False),
        ({"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "no"}, False),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "value": "yes"}, True),
    ],
)
def test_a_taint_keeps_away_who_does_not_tolerate_it(toleration: Obj, fits: bool) -> None:
    node = tainted(("gpu", "yes", "NoSchedule"))
    found = pod(tolerations=[toleration] if toleration else [])
    assert refused(found, node) == ("" if fits else "1 node(s) had untolerated taint(s).")


def test_a_taint_that_only_prefers_keeps_nobody_away() -> None:
    assert refused(pod(), tainted(("gpu", "yes", "PreferNoSchedule"))) == ""


def test_a_cordoned_node_takes_who_tolerates_that() -> None:
    node = tainted(unschedulable=True)
    assert refused(pod(), node) == "1 node(s) were unschedulable."
    key = "node.kubernetes.io/unschedulable"
    assert refused(pod(tolerations=[{"key": key, "operator": "Exists"}]), node) == ""


def labelled(title: str, where: str = "default", **labels_: str) -> Obj:
    found = pod(title, "0")
    found["metadata"] |= {"labels": labels_, "namespace": where}
    return found


HOST: Obj = {"metadata": {"name": "n", "labels": {"kubernetes.io/hostname": "n"}}}


def affine(kind: str, labels_: Obj, title: str = "new", **own: str) -> Obj:
    found = labelled(title, **own)
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels_}}
    found["spec"]["affinity"] = {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return found


def test_a_pod_waits_for_those_it_wants_to_be_with() -> None:
    found = affine("podAffinity", {"app": "db"})
    assert refused(found, HOST) == "1 node(s) didn't match pod affinity rules."
    assert refused(found, HOST, (labelled("other", app="db"),)) == ""
    elsewhere = labelled("other", "another", app="db")
    assert refused(found, HOST, (elsewhere,)) != "", "a term is about the pod's own namespace"


def test_the_first_of_those_that_want_to_be_together_goes_first() -> None:
    found = affine("podAffinity", {"app": "web"}, app="web")
    assert refused(found, HOST) == ""


def test_a_pod_stays_away_from_those_it_does_not_want_to_meet() -> None:
    found = affine("podAntiAffinity", {"app": "web"}, app="web")
    assert refused(found, HOST) == ""
    assert refused(found, HOST, (labelled("other", app="web"),)) == (
        "1 node(s) didn't match pod anti-affinity rules."
    )


def test_those_who_are_there_may_not_want_to_meet_it_either() -> None:
    there = affine("podAntiAffinity", {"app": "web"}, "there")
    assert refused(labelled("new", app="web"), HOST, (there,)) == (
        "1 node(s) didn't satisfy existing pods anti-affinity rules."
    )


def test_a_domain_that_the_node_does_not_name_is_nowhere() -> None:
    found = affine("podAntiAffinity", {"app": "web"})
    assert refused(found, NODE, (labelled("other", app="web"),)) == ""


def spread(**constraint: Any) -> Obj:
    found = labelled("new", app="web")
    wanted = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    found["spec"]["topologySpreadConstraints"] = [wanted | constraint]
    return found


def test_one_domain_is_always_as_full_as_the_emptiest() -> None:
    others = tuple(labelled(f"o{n}", app="web") for n in range(5))
    assert refused(spread(), HOST, others) == ""
    why = "1 node(s) didn't match pod topology spread constraints."
    assert refused(spread(minDomains=2), HOST, others) == why
    assert refused(spread(minDomains=2), HOST) == ""
    assert refused(spread(whenUnsatisfiable="ScheduleAnyway", minDomains=2), HOST, others) == ""
    assert refused(spread(topologyKey="zone"), HOST) == (
        "1 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def listening(title: str, port: int, **more: Any) -> Obj:
    found = pod(title, "0")
    found["spec"]["containers"][0]["ports"] = [{"hostPort": port, **more}]
    return found


def test_a_port_of_the_host_has_one_owner() -> None:
    there = (listening("there", 80),)
    why = "1 node(s) didn't have free ports for the requested pod ports."
    assert refused(listening("new", 80), NODE, there) == why
    assert refused(listening("new", 81), NODE, there) == ""
    assert refused(listening("new", 80, protocol="UDP"), NODE, there) == ""
    assert refused(listening("new", 80, hostIP="127.0.0.1"), NODE, there) == why


def important(title: str, level: int, cpu: str = "1", **spec: Any) -> Obj:
    found = pod(title, cpu, priority=level, **spec)
    found["metadata"] |= {"namespace": "default", "labels": {"app": title}}
    return found


def victims(new: Obj, others: list[Obj], cpu: int = 2, budgets: tuple[Obj, ...] = ()) -> Any:
    book = ledger(cpu)
    for other in others:
        book.hold(other)

    def why(trial: Ledger) -> str:
        found = refusal(new, NODE, trial, lambda _: {})
        return ", ".join(found.reasons) if found else ""

    assert why(book)
    result = preempt(new, book, budgets, why)
    return [other["metadata"]["name"] for other in result.victims] or result.why_not


def test_the_least_important_go_and_no_more_than_needed() -> None:
    others = [important("low", 1), important("lower", 0)]
    assert victims(important("new", 10), others) == ["lower"]
    assert victims(important("new", 10, "2"), others) == ["low", "lower"]


def test_nobody_goes_for_an_equal() -> None:
    others = [important("a", 10), important("b", 10)]
    assert victims(important("new", 10), others) == (
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_nobody_goes_for_nothing() -> None:
    others = [important("big", 20), important("small", 0, "1")]
    why = "0/1 nodes are available: 1 Insufficient cpu."
    assert victims(important("new", 10, "2"), others) == why


def test_a_polite_pod_waits() -> None:
    new = important("new", 10, preemptionPolicy="Never")
    assert victims(new, [important("a", 0, "2")]) == "not eligible due to preemptionPolicy=Never."


def test_whom_a_budget_protects_goes_last() -> None:
    others = [important("guarded", 0), important("free", 5)]
    selector = {"matchLabels": {"app": "guarded"}}
    budget: Obj = {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": selector},
        "status": {"disruptionsAllowed": 0},
    }
    assert victims(important("new", 10), others) == ["guarded"]
    assert victims(important("new", 10), others, budgets=(budget,)) == ["free"]
    # Where there is no other way, the budget does not hold.
    assert victims(important("new", 10, "2"), others, budgets=(budget,)) == ["free", "guarded"]


def test_a_pod_that_has_taken_places_waits_for_them() -> None:
    new = important("new", 10)
    new["status"] = {"nominatedNodeName": "n"}
    going = important("going", 0, "2")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    entry = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    going["status"] = {"conditions": [entry]}
    assert victims(new, [going]) == ("not eligible due to a terminating pod on the nominated node.")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=8), st.integers(1, 8))
def test_whoever_goes_makes_room_and_nobody_goes_in_vain(
    there: list[tuple[int, int]], wanted: int
) -> None:
    others = [important(f"o{n}", level, str(cpu)) for n, (level, cpu) in enumerate(there)]
    total = sum(cpu for _, cpu in there)
    cpu = max(total, wanted)
    assume(total + wanted > cpu)
    new = important("new", 3, str(wanted))
    found = victims(new, others, cpu)
    if isinstance(found, str):
        return
    gone = [other for other in others if other["metadata"]["name"] in found]
    assert all(other["spec"]["priority"] < 3 for other in gone)
    sizes = {other["metadata"]["name"]: cpu for other, (_, cpu) in zip(others, there, strict=True)}
    free = cpu - total + sum(sizes[name] for name in found)
    assert free >= wanted
    assert all(free - sizes[name] < wanted for name in found), "each of them was needed"


def test_a_claim_may_be_for_one_pod_at_a_time() -> None:
    def user(title: str, where: str = "default") -> Obj:
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        made = pod(title, "0", volumes=volumes)
        made["metadata"]["namespace"] = where
        return made

    book, claim = ledger(), frozenset({Key("default", "data")})
    book.hold(user("first"))
    found = refusal(user("second"), NODE, book, lambda _: {}, claim)
    assert found is not None
    assert "ReadWriteOncePod" in found.reasons[0]
    assert not found.helpless
    assert refusal(user("second"), NODE, book, lambda _: {}) is None
    elsewhere = frozenset({Key("other", "data")})
    assert refusal(user("third", "other"), NODE, book, lambda _: {}, elsewhere) is None
    book.release("first")
    assert refusal(user("second"), NODE, book, lambda _: {}, claim) is None
