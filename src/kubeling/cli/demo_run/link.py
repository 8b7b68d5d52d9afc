"""The demo's connection to its platform, which may go away and come back.

A client must expect that of any server. What fails because nobody answers is tried again, for as
long as a person takes to start the platform anew; so everything done through here must be harmless
to repeat where only the answer was lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import aiohttp

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints, Instance
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.errors import ServiceUnavailable
from kubeling.kube.https import HttpsTransport

__all__ = ["Link", "StageFailed", "Unavailable"]

PATIENCE: Final = 120.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0

T = TypeVar("T")


class StageFailed(CliError):
    """A stage did not get where it should; the message says what the platform says."""


class Unavailable(Exception):
    """Nobody answers now; somebody may soon."""


_PASSING: Final = (
    Unavailable,
    ConnectionError,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    ServiceUnavailable,
)


class Link:
    """Where the platform answers now. ``waiting`` is told why, whenever it does not."""

    def __init__(
        self, instance: Instance, endpoints: Endpoints, *, patience: float = PATIENCE
    ) -> None:
        self.instance = instance
        self.endpoints = endpoints
        self.client = _client(endpoints)
        self.waiting: Callable[[str], None] = lambda _: None
        self._patience = patience

    async def lasting(self, act: Callable[[], Awaitable[T]]) -> T:
        """The result of ``act``, which is tried until the platform answers."""
        gives_up = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await act()
            except _PASSING as error:
                if time.monotonic() > gives_up:
                    raise self._lost(error) from error
                self.waiting(self._why(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            await self._look_again()

    async def close(self) -> None:
        await self.client.close()

    async def _look_again(self) -> None:
        """Follows a platform that was started again, perhaps at other addresses."""
        found = self.instance.endpoints()
        if found is not None and found != self.endpoints:
            before, self.client, self.endpoints = self.client, _client(found), found
            await before.close()

    def _why(self, error: Exception) -> str:
        if self.instance.lives(self.endpoints):
            return f"waiting: {error or type(error).__name__}"
        return f"waiting for the platform; start it with: {self._remedy}"

    def _lost(self, error: Exception) -> StageFailed:
        said = f"the platform did not answer for {self._patience:g} s: {error}"
        return StageFailed(said, f"Start it with: {self._remedy}; then run kubeling demo again.")

    @property
    def _remedy(self) -> str:
        workspace = self.endpoints.workspace
        where = f"--data-dir {self.instance.data_dir} --workspace {workspace}"
        return f"kubeling up --detach {where}"


def _client(endpoints: Endpoints) -> Client:
    return Client(HttpsTransport(load(endpoints.kubeconfig)), field_manager="kubeling-demo")
