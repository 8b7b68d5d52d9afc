"""Which of the places behind a Service a caller is led to.

In turn, as they come; a Service with ``sessionAffinity: ClientIP`` leads each address to the place
it was led to last, for as long as it keeps coming. A place that the caller may not be led to by
the network policies does not exist for it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from kubeling.engine.servicenet.routes import Address

__all__ = ["Admits", "Backends"]

Admits = Callable[[str, Address], bool]
"""Whether a caller (by its address) may be led to a place."""


class Backends:
    """The places behind a frontend, replaced at any time.

    ``affinity`` is how many seconds a caller keeps its place after its last connection; 0 for not.
    """

    def __init__(
        self,
        places: Sequence[Address] = (),
        *,
        affinity: float = 0.0,
        admits: Admits = lambda _source, _place: True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = tuple(places)
        self.affinity = affinity
        self.admits = admits
        self._now = now
        self._turn = itertools.count()
        self._kept: dict[str, tuple[Address, float]] = {}

    def for_caller(self, source: str) -> list[Address]:
        """The places to try, beginning with the one whose turn it is or that was kept."""
        places = [place for place in self.places if self.admits(source, place)]
        if not places:
            return []
        start = next(self._turn) % len(places)
        kept = self._kept_for(source)
        if kept in places:
            start = places.index(kept)
        return [*places[start:], *places[:start]]

    def led(self, source: str, place: Address) -> None:
        """A caller has been led to a place."""
        if self.affinity:
            now = self._now()
            self._kept = {s: kept for s, kept in self._kept.items() if kept[1] > now}
            self._kept[source] = (place, now + self.affinity)

    def _kept_for(self, source: str) -> Address | None:
        place, until = self._kept.get(source, (None, 0.0))
        return place if self.affinity and until > self._now() else None
