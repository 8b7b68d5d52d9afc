"""What routes a service should have.

As upstream's (``reconcilers/ingress/httproute_reconciler.go``): one of the service's own name that
enters where requests do, and one for each component. The weights are the revisions', by the
Services that each revision has. Calls of gRPC are told from the rest by their content type, because
one host may not be of an HTTPRoute and of a GRPCRoute; a service that speaks nothing else gets the
latter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.component import Settings
from kubeling.kube.objects import Obj, name, namespace, new_object, uid
from kubeling.kube.resources import Resource
from kubeling.serving import names
from kubeling.serving.gateway import service as of_requests
from kubeling.serving.names import COMPONENTS, ComponentName
from kubeling.serving.routes.resources import GRPC_ROUTES, HTTP_ROUTES
from kubeling.serving.workloads import entry_component

__all__ = ["Backend", "routes_of", "shared_routes"]

_ALL: Final = {"path": {"type": "RegularExpression", "value": "^/.*$"}}
_GRPC: Final = {
    "headers": [
        {"type": "RegularExpression", "name": "content-type", "value": "^application/grpc.*"}
    ]
}
_EXPLAIN: Final = {
    "path": {"type": "RegularExpression", "value": r"^/v1/models/([\w\-]+):explain$"}
}


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service with the ports of each protocol, as far as it has one, and its weight."""

    service: str
    http: int | None
    grpc: int | None
    weight: int

    @classmethod
    def of(cls, service: Obj, weight: int = 100) -> Backend:
        """A Service by its ports' protocols, as upstream reads them."""
        ports = service["spec"].get("ports") or ()
        grpc = [p["port"] for p in ports if _is_grpc(p)]
        http = [p["port"] for p in ports if not _is_grpc(p)]
        return cls(name(service), next(iter(http), None), next(iter(grpc), None), weight)


def routes_of(
    isvc: Obj, parent: str, settings: Settings, services: Mapping[str, Obj]
) -> Iterator[tuple[Resource, Obj]]:
    """The routes of a service whose revisions' Services are given by name."""
    present = [component for component in COMPONENTS if component in isvc["spec"]]
    backends = {component: _backends(isvc, component, services) for component in present}
    entry = backends[next(one for one in present if one == entry_component(present))]
    own: tuple[str, Sequence[Backend], ComponentName | None] = (name(isvc), entry, None)
    parts = [(f"{name(isvc)}-{part}", found, part) for part, found in backends.items()]
    for title, found, component in (own, *parts):
        if not found:
            continue
        hosts = names.host_names(isvc, settings, component)[:1]
        resource, rules = _rules(found, f"{of_requests.timeout_of(isvc):g}s")
        if component is None and resource is HTTP_ROUTES and backends.get("explainer"):
            rules.insert(0, _rule([_EXPLAIN], backends["explainer"], "http"))
        spec = {"parentRefs": [_parent(parent)], "hostnames": list(hosts), "rules": rules}
        labels = {names.SERVICE: name(isvc)}
        yield (
            resource,
            new_object(resource, title, namespace(isvc), owner=isvc, labels=labels, spec=spec),
        )


def shared_routes(gateway: Obj, parent: str, settings: Settings) -> tuple[Resource, Obj]:
    """The route that leads all hosts of the ingress domain to the inference gateway.

    A Gateway takes the route with the most of a host name, so a service may still have its own.
    """
    _, rules = _rules([Backend.of(gateway)], "")
    spec = {
        "parentRefs": [_parent(parent)],
        "hostnames": [f"*.{settings.ingress_domain}"],
        "rules": rules,
    }
    title = f"{name(gateway)}-inference"
    made = new_object(HTTP_ROUTES, title, namespace(gateway), spec=spec)
    owner = {"apiVersion": "v1", "kind": "Service", "name": name(gateway), "uid": uid(gateway)}
    made["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    return HTTP_ROUTES, made


def _backends(isvc: Obj, component: ComponentName, services: Mapping[str, Obj]) -> list[Backend]:
    shown = ((isvc.get("status") or {}).get("components") or {}).get(component) or {}
    return [
        Backend.of(services[share["revisionName"]], int(share["percent"]))
        for share in shown.get("traffic") or ()
        if share.get("percent") and share["revisionName"] in services
    ]


def _rules(backends: Sequence[Backend], timeout: str) -> tuple[Resource, list[Obj]]:
    """The kind of route that the backends need, and its rules."""
    speaks_http = [one for one in backends if one.http is not None]
    speaks_grpc = [one for one in backends if one.grpc is not None]
    if not speaks_http:
        return GRPC_ROUTES, [{"backendRefs": _references(speaks_grpc, "grpc")}]
    rules = [_rule([_GRPC], speaks_grpc, "grpc", timeout)] if speaks_grpc else []
    return HTTP_ROUTES, [*rules, _rule([_ALL], speaks_http, "http", timeout)]


def _rule(matches: list[Any], backends: Sequence[Backend], protocol: str, timeout: str = "") -> Obj:
    rule: Obj = {"matches": matches, "backendRefs": _references(backends, protocol)}
    if timeout:
        rule["timeouts"] = {"request": timeout}
    return rule


def _references(backends: Sequence[Backend], protocol: str) -> list[Obj]:
    return [
        {
            "kind": "Service",
            "name": one.service,
            "port": one.grpc if protocol == "grpc" else one.http,
            "weight": one.weight,
        }
        for one in backends
    ]


def _parent(parent: str) -> Obj:
    where, _, title = parent.partition("/")
    return {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "namespace": where,
        "name": title,
    }


def _is_grpc(port: Obj) -> bool:
    title = str(port.get("name") or "").lower()
    return port.get("appProtocol") == "kubernetes.io/h2c" or "grpc" in title or "h2c" in title
