"""What a pod's policies come to: from and to whom it may have connections. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kubeling.engine.netpolicy.spans import Spans, contains

__all__ = ["OPEN", "Allow", "Isolation", "Ports", "admits"]


class Ports(NamedTuple):
    """Some ports of one protocol, both ends within."""

    protocol: str
    first: int = 0
    last: int = 65535


@dataclass(frozen=True, slots=True)
class Allow:
    """Connections with these peers at these ports; ``None`` stands for all there are."""

    peers: Spans | None = None
    ports: tuple[Ports, ...] | None = None


@dataclass(frozen=True, slots=True)
class Isolation:
    """A pod's connections, each way: those that some entry allows, or ``None`` for any."""

    ingress: tuple[Allow, ...] | None = None
    egress: tuple[Allow, ...] | None = None


OPEN = Isolation()


def admits(allowed: tuple[Allow, ...] | None, peer: int, protocol: str, port: int) -> bool:
    """Whether a connection with ``peer`` to ``port`` is among those allowed."""
    if allowed is None:
        return True
    return any(
        (allow.peers is None or contains(allow.peers, peer))
        and (allow.ports is None or _listed(allow.ports, protocol, port))
        for allow in allowed
    )


def _listed(ports: tuple[Ports, ...], protocol: str, port: int) -> bool:
    return any(p.protocol == protocol and p.first <= port <= p.last for p in ports)
