"""How a Service's fields follow its type when it is changed.

What the server gave out is kept where a client leaves it out, and goes where the new type has no
use for it: a client that only changes ``type`` need not know which fields come with that
(upstream's ``patchAllocatedValues`` and ``dropTypeDependentFields``).
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.strategy import Strategy
from kubeling.kube.objects import Obj

__all__ = ["WITH_NODE_PORTS", "ServiceStrategy", "port_key"]

WITH_NODE_PORTS: Final = ("NodePort", "LoadBalancer")
_OF_ADDRESSES: Final = ("clusterIP", "clusterIPs")
_OF_FAMILIES: Final = ("ipFamilies", "ipFamilyPolicy")
_OF_BALANCERS: Final = ("allocateLoadBalancerNodePorts", "loadBalancerClass")


class ServiceStrategy(Strategy):
    """Services keep their addresses, as far as their type has any."""

    returns_deleted = True

    inherits = True

    def inherit(self, new: Obj, old: Obj) -> None:
        spec, before = new.get("spec"), old.get("spec") or {}
        if not isinstance(spec, dict):
            return
        if spec.get("type") == "ExternalName":
            _drop_unchanged(spec, before, (*_OF_ADDRESSES, *_OF_FAMILIES, "internalTrafficPolicy"))
        else:
            for field in _OF_ADDRESSES:
                if not spec.get(field) and before.get(field):
                    spec[field] = before[field]
        if spec.get("type") not in WITH_NODE_PORTS:
            _drop_node_ports(spec, before)
            if not spec.get("externalIPs"):
                _drop_unchanged(spec, before, ("externalTrafficPolicy",))
        if spec.get("type") != "LoadBalancer":
            _drop_unchanged(spec, before, _OF_BALANCERS)


def port_key(port: Obj) -> tuple[Any, Any]:
    """What makes a port the same one after a change."""
    return port.get("protocol") or "TCP", port.get("port")


def _drop_unchanged(spec: Obj, before: Obj, fields: tuple[str, ...]) -> None:
    """What a client changed it means; that is for the rules to judge."""
    for field in fields:
        if field in spec and spec[field] == before.get(field):
            del spec[field]


def _drop_node_ports(spec: Obj, before: Obj) -> None:
    known = {port_key(port): port.get("nodePort") for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        if isinstance(port, dict) and port.get("nodePort") == known.get(port_key(port)):
            port.pop("nodePort", None)
