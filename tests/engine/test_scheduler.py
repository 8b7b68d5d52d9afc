"""What fits on the node."""

from decimal import Decimal

import pytest

from kubeling.engine.podspec import pod_requests, qos_class
from kubeling.engine.scheduler import Ledger, unschedulable_reason
from kubeling.kube.objects import Obj

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
    assert "scheduling gates: example.com/wait" in unschedulable_reason(gated, NODE, ledger())


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
