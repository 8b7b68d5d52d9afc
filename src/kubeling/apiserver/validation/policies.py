"""Rules of NetworkPolicies (upstream's ``pkg/apis/networking/validation``)."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from kubeling.apiserver.validation.containers import PROTOCOLS
from kubeling.apiserver.validation.rules import (
    Errors,
    choice,
    port_name,
    port_number,
    selector,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["network_policy"]

_TYPES: Final = ("Egress", "Ingress")
_MAX_TYPES: Final = 2
_PEERS: Final = {"ingress": "from", "egress": "to"}


def network_policy(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    yield from selector(spec.get("podSelector") or {}, "spec.podSelector")
    types = spec.get("policyTypes") or []
    if len(types) > _MAX_TYPES:
        message = "may not specify more than two policyTypes"
        yield FieldError("spec.policyTypes", "Invalid value", message, types)
    for index, kind in enumerate(types):
        path = f"spec.policyTypes[{index}]"
        for error in choice({"type": kind}, path, "type", _TYPES):
            yield FieldError(path, error.reason, error.message, kind)
    for direction, peers in _PEERS.items():
        for at, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{at}]"
            for index, port in enumerate(rule.get("ports") or ()):
                yield from _port(port, f"{path}.ports[{index}]")
            for index, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, f"{path}.{peers}[{index}]")


def _port(port: Obj, path: str) -> Errors:
    yield from choice(port, path, "protocol", PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        yield from port_name(number, f"{path}.port")
    elif number is not None:
        yield from port_number(number, f"{path}.port")
    if end is None:
        return
    where = f"{path}.endPort"
    if number is None:
        message = "may not be specified when `port` is not specified"
        yield FieldError(where, "Invalid value", message, end)
    elif isinstance(number, str):
        message = "may not be specified when `port` is non-numeric"
        yield FieldError(where, "Invalid value", message, end)
    elif end < number:
        yield FieldError(where, "Invalid value", "must be greater than or equal to `port`", end)
    else:
        yield from port_number(end, where)


def _peer(peer: Obj, path: str) -> Errors:
    if not any(field in peer for field in ("podSelector", "namespaceSelector", "ipBlock")):
        yield FieldError(path, "Required value", "must specify a peer")
    for field in ("podSelector", "namespaceSelector"):
        yield from selector(peer.get(field) or {}, f"{path}.{field}")
    if (block := peer.get("ipBlock")) is None:
        return
    if len(peer) > 1:
        message = "may not specify both ipBlock and another peer"
        yield FieldError(path, "Forbidden", message)
    yield from _block(block, f"{path}.ipBlock")


def _block(block: Obj, path: str) -> Errors:
    cidr = block.get("cidr", "")
    if not cidr:
        yield FieldError(f"{path}.cidr", "Required value", "")
        return
    if (network := _network(cidr)) is None:
        yield _not_a_block(f"{path}.cidr", cidr)
        return
    for index, text in enumerate(block.get("except") or ()):
        where = f"{path}.except[{index}]"
        if (hole := _network(text)) is None:
            yield _not_a_block(where, text)
        elif not _strictly_within(hole, network):
            message = f'must be a strict subset of `cidr`: "{cidr}"'
            yield FieldError(where, "Invalid value", message, text)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: Any) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except (ValueError, TypeError):
        return None


def _strictly_within(hole: _Network, network: _Network) -> bool:
    if isinstance(hole, ipaddress.IPv4Network) and isinstance(network, ipaddress.IPv4Network):
        return hole != network and hole.subnet_of(network)
    if isinstance(hole, ipaddress.IPv6Network) and isinstance(network, ipaddress.IPv6Network):
        return hole != network and hole.subnet_of(network)
    return False


def _not_a_block(path: str, value: str) -> FieldError:
    message = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    return FieldError(path, "Invalid value", message, value)
