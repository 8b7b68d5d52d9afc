"""Where a Service is listened for, and which endpoints are behind it."""

from __future__ import annotations

from typing import Any

import pytest

from kubeling.engine.servicenet.nodehosts import node_hosts
from kubeling.engine.servicenet.routes import Frontend, routes_of, source_ranges
from kubeling.kube.objects import Obj

NODE = "192.0.2.1"
ADDRESS = "10.96.0.9"


def service(**spec: Any) -> Obj:
    ports = [{"name": "web", "port": 80}]
    return {"spec": {"type": "ClusterIP", "clusterIP": ADDRESS, "ports": ports, **spec}}


def endpoint_slice(*endpoints: tuple[str, Obj], **fields: Any) -> Obj:
    return {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a], "conditions": c} for a, c in endpoints],
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
        **fields,
    }


READY = {"ready": True}
ENDING = {"ready": False, "serving": True, "terminating": True}
WAITING = {"ready": False, "serving": False}


def behind(*slices: Obj, **spec: Any) -> list[str]:
    routes = routes_of(service(**spec), slices, [NODE])
    return [address for address, _ in routes[Frontend("TCP", ADDRESS, 80)]]


def test_ready_endpoints_come_first_then_those_that_end() -> None:
    both = endpoint_slice(("10.0.0.1", ENDING), ("10.0.0.2", READY), ("10.0.0.3", WAITING))
    assert behind(both) == ["10.0.0.2"]
    assert behind(endpoint_slice(("10.0.0.1", ENDING), ("10.0.0.3", WAITING))) == ["10.0.0.1"]
    assert behind(endpoint_slice(("10.0.0.3", WAITING))) == []


def test_slices_that_cannot_be_used_are_passed_over() -> None:
    six = endpoint_slice(("2001:db8::1", READY), addressType="IPv6")
    every_port = endpoint_slice(("10.0.0.1", READY), ports=[{"name": "web"}])
    twice = endpoint_slice(("10.0.0.2", READY))
    assert behind(six, every_port, twice, twice) == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ({}, {(ADDRESS, 80)}),
        ({"clusterIP": "None"}, set()),
        ({"type": "ExternalName"}, set()),
        ({"externalIPs": ["192.0.2.9"]}, {(ADDRESS, 80), ("192.0.2.9", 80)}),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]},
            {(ADDRESS, 80), (NODE, 30000)},
        ),
        ({"type": "LoadBalancer"}, {(ADDRESS, 80), (NODE, 80)}),
        ({"type": "LoadBalancer", "loadBalancerClass": "example.com/lb"}, {(ADDRESS, 80)}),
    ],
)
def test_what_each_type_listens_on(spec: Obj, places: set[tuple[str, int]]) -> None:
    found = routes_of(service(**spec), [], [NODE])
    assert {(place.host, place.port) for place in found} == places


def test_a_load_balancer_s_ranges_are_for_its_own_place() -> None:
    limited = service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"])
    assert source_ranges(limited, Frontend("TCP", NODE, 80))
    assert not source_ranges(limited, Frontend("TCP", ADDRESS, 80))
    assert not source_ranges(limited, Frontend("TCP", NODE, 30000))


def test_the_machine_is_shown_where_others_reach_it() -> None:
    assert node_hosts("127.0.0.1", "10.244.7.1").listen == ("10.244.7.1", "127.0.0.1")
    assert node_hosts("127.0.0.1", "10.244.7.1").shown == "10.244.7.1"
    assert node_hosts("192.0.2.5", "10.244.7.1").shown == "192.0.2.5"
    everywhere = node_hosts("0.0.0.0", "127.0.0.1")
    assert "127.0.0.1" in everywhere.listen
    assert "0.0.0.0" not in everywhere.listen
