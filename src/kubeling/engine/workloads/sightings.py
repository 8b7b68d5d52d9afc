"""Waiting until a cache shows what was just written.

A controller that creates with random names and looks at a cache that lags would create again.
Upstream keeps "expectations" between calls; here a reconciler ends only when its own writes have
been seen, so nothing has to be remembered and a crash loses nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from kubeling.kube.informer import Informer
from kubeling.kube.objects import Key, Obj, key_of

__all__ = ["Sightings"]

_PATIENCE: Final = 5.0


class Sightings:
    """Tells when an informer next shows a change of an object."""

    def __init__(self, informer: Informer) -> None:
        self._waiting: dict[Key, list[asyncio.Future[None]]] = {}
        informer.add_handler(self._on_change)

    def expect(self, key: Key) -> asyncio.Future[None]:
        """Done when the object changes after now; ask before writing."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        return future

    async def arrived(self, future: asyncio.Future[None]) -> None:
        """Waits for an expected change; a cache that lags by seconds is not waited for."""
        await asyncio.wait([future], timeout=_PATIENCE)
        future.cancel()

    def _on_change(self, old: Obj | None, new: Obj | None) -> None:
        if not self._waiting:
            return
        shown = new if new is not None else old
        assert shown is not None
        for future in self._waiting.pop(key_of(shown), ()):
            if not future.done():
                future.set_result(None)
