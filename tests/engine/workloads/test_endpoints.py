"""Which pods are behind a Service."""

from __future__ import annotations

from typing import Any

from tests.engine.workloads.cluster import Cluster, workload

from kubeling.engine.workloads.endpoint_plan import backends, endpoint_slices, subsets
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, SERVICES


def pod(name: str, address: str, *, ready: bool = True, port: int = 8000, **status: Any) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
        "spec": {
            "nodeName": "here",
            "containers": [{"name": "m", "ports": [{"name": "http", "containerPort": port}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            **status,
        },
    }


def service(**spec: Any) -> Obj:
    ports = [{"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    return new_object(
        SERVICES, "web", "default", spec={"selector": {"app": "web"}, "ports": ports, **spec}
    )


def test_ready_pods_serve_and_the_others_wait() -> None:
    found = backends(service(), [pod("b", "10.0.0.2"), pod("a", "10.0.0.1", ready=False)])
    (subset,) = subsets(found)
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.2"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.1"]
    assert subset["ports"] == [{"name": "web", "port": 8000, "protocol": "TCP"}]


def test_a_named_port_may_differ_from_pod_to_pod() -> None:
    found = backends(service(), [pod("a", "10.0.0.1"), pod("b", "10.0.0.2", port=9000)])
    ports = [slice_["ports"][0]["port"] for slice_ in endpoint_slices(found)]
    assert ports == [8000, 9000]


def test_finished_pods_and_pods_without_an_address_are_left_out() -> None:
    pods = [pod("a", "10.0.0.1", phase="Succeeded"), pod("b", "")]
    assert backends(service(), pods) == []


def test_a_service_may_publish_pods_that_are_not_ready() -> None:
    found = backends(service(publishNotReadyAddresses=True), [pod("a", "10.0.0.1", ready=False)])
    assert subsets(found)[0]["addresses"][0]["ip"] == "10.0.0.1"


async def test_endpoints_follow_the_pods(cluster: Cluster) -> None:
    ports = [{"port": 80}]
    await cluster.client.create(SERVICES, service(ports=ports))
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=2))

    def serving(count: int):
        return lambda e: sum(len(s.get("addresses", ())) for s in e.get("subsets") or ()) == count

    await cluster.until(ENDPOINTS, "web", serving(2))
    await cluster.client.set_scale(DEPLOYMENTS, "web", "default", 1)
    await cluster.until(ENDPOINTS, "web", serving(1))
    selector = "kubernetes.io/service-name=web"
    await cluster.until_list(
        ENDPOINT_SLICES,
        lambda found: sum(len(s["endpoints"]) for s in found) == 1,
        "default",
        selector,
    )
    await cluster.client.delete(SERVICES, "web", "default")
    await cluster.until_gone(ENDPOINTS, "web")


async def test_endpoints_written_by_hand_get_a_slice(cluster: Cluster) -> None:
    await cluster.client.create(
        SERVICES, new_object(SERVICES, "outside", "default", spec={"ports": [{"port": 80}]})
    )
    subset = {"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 8080}]}
    await cluster.client.create(
        ENDPOINTS, new_object(ENDPOINTS, "outside", "default", subsets=[subset])
    )
    found = await cluster.until_list(
        ENDPOINT_SLICES, bool, "default", "kubernetes.io/service-name=outside"
    )
    assert found[0]["endpoints"][0]["addresses"] == ["192.0.2.7"]
