"""Where Services are reached and who is behind them, as numbers; the name server is one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubeling.engine.netpolicy.spans import number_of
from kubeling.engine.netpolicy.verdicts import Place
from kubeling.engine.servicenet.routes import Address, Frontend
from kubeling.kube.objects import Key

__all__ = ["Places", "Routes"]

Routes = Mapping[Frontend, Sequence[Address]]
"""What is listened on, and the addresses and ports behind each."""

_DNS_PORT = 53


class Places:
    """All places of all Services."""

    def __init__(self, dns: str = "") -> None:
        self._of: dict[Key, dict[Place, tuple[tuple[int, int], ...]]] = {}
        if dns:
            self.offer(
                Key("", ""),
                {Frontend(p, dns, _DNS_PORT): [(dns, _DNS_PORT)] for p in ("UDP", "TCP")},
            )

    def offer(self, service: Key, routes: Routes) -> bool:
        """Replaces a Service's places; tells whether they are others than before."""
        found = {
            (protocol, number_of(host), port): tuple((number_of(h), p) for h, p in behind)
            for (protocol, host, port), behind in routes.items()
        }
        if found == self._of.get(service, {}):
            return False
        self._of[service] = found
        if not found:
            del self._of[service]
        return True

    def all(self) -> list[tuple[Place, tuple[tuple[int, int], ...]]]:
        return [entry for places in self._of.values() for entry in places.items()]
