"""Which revision, and which of its pods, answers the next request.

Revisions take turns by smooth weighted round-robin, so ten requests at 10% hold exactly one for the
canary instead of one on average; pods by the fewest requests in flight. A pod that did not answer
is asked last for a moment: it is often gone before the API says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Endpoint", "Splitter"]

_AVOID_SECONDS: Final = 2.0
_DOUBT_SECONDS: Final = 5.0
"""How long a pod that failed is not counted on: it may be listed as ready for a moment yet."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod that is ready, at ``host:port``; where it may speak gRPC, too.

    One whose containers have been restarted is another endpoint than it was.
    """

    address: str
    pod: str
    grpc: str = ""
    restarts: int = 0


@dataclass
class Splitter:
    """The turns of one service. Not thread-safe: one event loop uses it."""

    _credit: dict[str, float] = field(default_factory=dict)
    _in_flight: dict[str, int] = field(default_factory=dict)
    _turn: int = 0
    _failed: dict[Endpoint, float] = field(default_factory=dict)
    """When, for as long as it matters."""

    def order(
        self,
        weights: Mapping[str, int],
        endpoints: Mapping[str, Sequence[Endpoint]],
        now: float = 0.0,
    ) -> list[tuple[str, Endpoint]]:
        """Endpoints in the order to try: of the revision whose turn it is, then of the others.

        Only revisions with a weight are used, and a turn goes to one that has ready pods.
        """
        able = {r: w for r, w in weights.items() if w > 0 and endpoints.get(r)}
        if not able:
            return []
        chosen = self._next(able) if len(able) > 1 else next(iter(able))
        if len(able) == 1 and len(endpoints[chosen]) == 1:
            return [(chosen, endpoints[chosen][0])]
        others = sorted(able.keys() - {chosen}, key=lambda r: -able[r])
        self._turn += 1
        found = [(r, e) for r in (chosen, *others) for e in self._by_load(endpoints[r])]
        if self._failed:
            self._forget_failures(now)
            found.sort(key=lambda one: self._has_failed(one[1], now - _AVOID_SECONDS))
        return found

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """The endpoint could not be reached."""
        self._forget_failures(now)
        self._failed[endpoint] = now

    def reachable(self, endpoints: Iterable[Endpoint], now: float) -> int:
        """How many of the endpoints have not failed just now."""
        return sum(not self._has_failed(one, now - _DOUBT_SECONDS) for one in endpoints)

    def started(self, endpoint: Endpoint) -> None:
        """A request was sent to the endpoint."""
        self._in_flight[endpoint.address] = self.load(endpoint) + 1

    def load(self, endpoint: Endpoint) -> int:
        """The requests that the endpoint has now."""
        return self._in_flight.get(endpoint.address, 0)

    def finished(self, endpoint: Endpoint) -> None:
        """A request to the endpoint ended."""
        left = self.load(endpoint) - 1
        if left > 0:
            self._in_flight[endpoint.address] = left
        else:
            self._in_flight.pop(endpoint.address, None)

    def _forget_failures(self, now: float) -> None:
        self._failed = {e: at for e, at in self._failed.items() if at > now - _DOUBT_SECONDS}

    def _has_failed(self, endpoint: Endpoint, since: float) -> bool:
        return self._failed.get(endpoint, since) > since

    def _next(self, weights: Mapping[str, int]) -> str:
        self._credit = {r: self._credit.get(r, 0.0) + w for r, w in weights.items()}
        chosen = max(self._credit, key=lambda r: self._credit[r])
        self._credit[chosen] -= sum(weights.values())
        return chosen

    def _by_load(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        count = len(endpoints)
        turned = [endpoints[(self._turn + i) % count] for i in range(count)]
        return sorted(turned, key=self.load)
