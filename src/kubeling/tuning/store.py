"""Opening the store of observations when the first one is to be kept, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from kubeling.component import Context
from kubeling.tuning.collection import Observations

if TYPE_CHECKING:
    from kubeling.tuning.observations import ObservationStore

__all__ = ["observation_store"]


def observation_store(context: Context) -> Callable[[], Awaitable[Observations]]:
    """A function that returns the store, loading what it needs off the event loop."""
    opened: list[ObservationStore] = []

    def load() -> ObservationStore:
        from kubeling.tuning.observations import ObservationStore

        return ObservationStore(lambda: context.database)

    async def store() -> Observations:
        if not opened:
            opened.append(await asyncio.to_thread(load))
        return opened[0]

    return store
