"""Routes of the Gateway API, on a cluster that has its kinds and on one that has not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.platform import NAMESPACE, Serving, is_ready, running_serving, traffic

from kubeling.kube.clusterdomain import domain_in
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from kubeling.serving import names
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.routes.resources import GRPC_ROUTES, HTTP_ROUTES, Resource, definition_of

PARENT = {
    "group": "gateway.networking.k8s.io",
    "kind": "Gateway",
    "namespace": "kserve",
    "name": "kserve-ingress-gateway",
}
REST = {"matches": [{"path": {"type": "RegularExpression", "value": "^/.*$"}}]}
CALLS = [
    {
        "headers": [
            {"type": "RegularExpression", "name": "content-type", "value": "^application/grpc.*"}
        ]
    }
]


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        yield found


def definition(resource: Resource) -> Obj:
    """The Gateway API's definition of a kind, without its schema."""
    kind = {"kind": resource.kind, "plural": resource.plural, "singular": resource.kind.lower()}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": definition_of(resource),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": resource.group,
            "names": kind,
            "scope": "Namespaced",
            "versions": [version],
        },
    }


async def install(serving: Serving) -> None:
    for resource in (HTTP_ROUTES, GRPC_ROUTES):
        await serving.apply(CUSTOM_RESOURCE_DEFINITIONS, definition(resource))


async def serve(serving: Serving, version: str, number: int, ports: list[Obj], **f: Any) -> None:
    env = [{"name": "VERSION", "value": version}]
    container = {"image": "mine", "env": env, "ports": ports}
    await serving.service("m", predictor={"containers": [container], **f})
    await serving.start(f"m-predictor-{number:05d}")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)


def backend(number: int, weight: int, port: int = 80) -> Obj:
    return {
        "kind": "Service",
        "name": f"m-predictor-{number:05d}",
        "port": port,
        "weight": weight,
    }


async def test_a_service_has_routes_with_its_revisions_weights(serving: Serving) -> None:
    await install(serving)
    ports = [{"containerPort": 9000}]
    await serve(serving, "1", 1, ports, timeout=30)
    await serve(serving, "2", 2, ports, timeout=30, canaryTrafficPercent=10)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    shares = [backend(2, 10), backend(1, 90)]

    def is_split(route: Obj) -> bool:
        found = route["spec"]["rules"][0]["backendRefs"]
        return sorted(map(str, found)) == sorted(map(str, shares))

    for title, host in {"m": "m-default", "m-predictor": "m-predictor-default"}.items():
        route = await serving.until(HTTP_ROUTES, title, is_split)
        assert route["spec"]["parentRefs"] == [PARENT]
        assert route["spec"]["hostnames"] == [f"{host}.example.com"]
        (rule,) = route["spec"]["rules"]
        assert rule["matches"] == REST["matches"]
        assert rule["timeouts"] == {"request": "30s"}


async def test_calls_of_grpc_are_told_from_the_rest(serving: Serving) -> None:
    await install(serving)
    await serve(serving, "1", 1, [{"containerPort": 9000}, {"name": "grpc", "containerPort": 9001}])
    route = await serving.exists(HTTP_ROUTES, "m")
    calls, rest = route["spec"]["rules"]
    assert (calls["matches"], calls["backendRefs"]) == (CALLS, [backend(1, 100, 9001)])
    assert rest["backendRefs"] == [backend(1, 100)]


async def test_a_service_of_grpc_alone_has_a_grpcroute(serving: Serving) -> None:
    await install(serving)
    await serve(serving, "1", 1, [{"name": "h2c", "containerPort": 9000}])
    route = await serving.exists(GRPC_ROUTES, "m")
    assert route["spec"]["hostnames"] == ["m-default.example.com"]
    assert route["spec"]["rules"] == [{"backendRefs": [backend(1, 100)]}]


async def test_kinds_that_come_later_are_used_and_an_inference_gateway_takes_over(
    serving: Serving,
) -> None:
    await serve(serving, "1", 1, [{"containerPort": 9000}])
    await install(serving)
    await serving.exists(HTTP_ROUTES, "m")
    await serving.gateway()
    await serving.gone(HTTP_ROUTES, "m")
    where, title = names.GATEWAY
    route = await serving.client.get(HTTP_ROUTES, f"{title}-inference", where)
    assert route["spec"]["hostnames"] == ["*.example.com"]
    (rule,) = route["spec"]["rules"]
    assert rule["backendRefs"][0]["name"] == title
    assert await serving.client.find(HTTP_ROUTES, "m", NAMESPACE) is None


@pytest.mark.parametrize(
    ("resolver", "domain"),
    [
        ("search a.svc.k8s.corp svc.k8s.corp k8s.corp\nnameserver 10.0.0.10\n", "k8s.corp"),
        ("nameserver 10.0.0.10\nsearch lan\n", ""),
        ("", ""),
    ],
)
def test_the_clusters_domain_is_that_of_the_resolver(resolver: str, domain: str) -> None:
    assert domain_in(resolver) == domain
