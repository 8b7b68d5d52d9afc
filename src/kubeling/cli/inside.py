"""The Services by which pods reach the platform itself, under upstream's names.

In a cluster, ``kubernetes.default`` leads to the API server and Kubeflow's services live in the
``kubeflow`` namespace. Here all of them lead to this process; SDKs inside a step find what they
look for without being told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kubeling.cli.instance import Endpoints
from kubeling.component import Listener
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, SERVICES

__all__ = ["API_PORT", "publish"]

API_PORT: Final = 443
_SYSTEM: Final = "kubeflow"


@dataclass(frozen=True, slots=True)
class _Entrance:
    namespace: str
    name: str
    port: int
    target: int
    title: str = "main"
    """The name of the port."""
    address: str = ""
    """What the Service must have, where that is not any."""
    labels: Mapping[str, str] = field(default_factory=dict)


def _entrances(
    endpoints: Endpoints, api_address: str, listeners: Sequence[Listener]
) -> tuple[_Entrance, ...]:
    gateway = endpoints.gateway_port
    return (
        _Entrance(
            *("default", "kubernetes", API_PORT, endpoints.api_port, "https", api_address),
            {"component": "apiserver", "provider": "kubernetes"},
        ),
        _Entrance(_SYSTEM, "ml-pipeline", 8888, gateway),
        _Entrance(_SYSTEM, "model-registry-service", 8080, gateway),
        _Entrance(_SYSTEM, "kubeling", 80, gateway),
        *(_Entrance(_SYSTEM, of.name, of.port, endpoints.listeners[of.name]) for of in listeners),
    )


async def publish(
    client: Client,
    endpoints: Endpoints,
    api_address: str,
    listeners: Sequence[Listener] = (),
) -> None:
    """Creates or moves the Services to where the platform answers now.

    ``api_address`` is that of the Service ``kubernetes``.
    """
    if await client.find(NAMESPACES, _SYSTEM) is None:
        await client.create(NAMESPACES, new_object(NAMESPACES, _SYSTEM))
    for entrance in _entrances(endpoints, api_address, listeners):
        await _make_way(client, entrance)
        await client.apply(SERVICES, _service(entrance))
        await client.apply(ENDPOINTS, _endpoints(entrance))
        await client.apply(ENDPOINT_SLICES, _slice(entrance))


async def _make_way(client: Client, entrance: _Entrance) -> None:
    """Takes away a Service that has another address, which cannot be changed."""
    found = await client.find(SERVICES, entrance.name, entrance.namespace)
    if found and entrance.address and found["spec"].get("clusterIP") != entrance.address:
        await client.delete(SERVICES, entrance.name, entrance.namespace)


def _service(entrance: _Entrance) -> Obj:
    port = {"port": entrance.port, "targetPort": entrance.target, "protocol": "TCP"}
    spec: Obj = {"ports": [{"name": entrance.title, **port}]}
    if entrance.address:
        spec |= {"clusterIP": entrance.address, "clusterIPs": [entrance.address]}
    title, where = entrance.name, entrance.namespace
    return new_object(SERVICES, title, where, labels=dict(entrance.labels) or None, spec=spec)


def _endpoints(entrance: _Entrance) -> Obj:
    subset = {
        "addresses": [{"ip": "127.0.0.1"}],
        "ports": [{"name": entrance.title, "port": entrance.target, "protocol": "TCP"}],
    }
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    return new_object(ENDPOINTS, entrance.name, entrance.namespace, labels=labels, subsets=[subset])


def _slice(entrance: _Entrance) -> Obj:
    return new_object(
        ENDPOINT_SLICES,
        entrance.name,
        entrance.namespace,
        labels={"kubernetes.io/service-name": entrance.name},
        addressType="IPv4",
        endpoints=[{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        ports=[{"name": entrance.title, "port": entrance.target, "protocol": "TCP"}],
    )
