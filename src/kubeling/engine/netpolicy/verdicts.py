"""Whether a connection may be, and which places of Services a pod need not try. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kubeling.engine.netpolicy.isolation import OPEN, Isolation, admits
from kubeling.engine.netpolicy.spans import Spans, contains

__all__ = ["Place", "Verdicts"]

Place = tuple[str, int, int]
"""Where a Service is reached: protocol, address and port."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All that holds at one moment.

    ``node`` are the machine's own addresses: connections from and to it are always allowed, as the
    documentation of NetworkPolicy says. ``services`` are those of Services, from which the machine
    sends as well.
    """

    isolations: Mapping[int, Isolation] = field(default_factory=dict)
    node: Spans = ()
    services: Spans = ()

    def allows(self, source: int, destination: int, protocol: str, port: int) -> bool:
        """Whether a new connection may be opened."""
        if source == destination or contains(self.node, destination):
            return True
        if contains(self.node, source) or contains(self.services, source):
            return True
        outward = self.isolations.get(source, OPEN).egress
        inward = self.isolations.get(destination, OPEN).ingress
        return admits(outward, destination, protocol, port) and admits(
            inward, source, protocol, port
        )

    def closed_to(
        self, source: int, places: Iterable[tuple[Place, Sequence[tuple[int, int]]]]
    ) -> tuple[Place, ...]:
        """The places behind which there is nobody that ``source`` may connect to."""
        restricted = self.isolations.get(source, OPEN).egress is not None
        return tuple(
            place
            for place, behind in places
            if (restricted or all(a in self.isolations for a, _ in behind))
            and not any(self.allows(source, a, place[0], port) for a, port in behind)
        )
