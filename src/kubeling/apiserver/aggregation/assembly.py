"""Aggregation as the server uses it: its parts put together, begun, run and closed."""

from __future__ import annotations

from collections.abc import Iterable

from kubeling.apiserver.aggregation.connection import Connections
from kubeling.apiserver.aggregation.delegate import Delegates
from kubeling.apiserver.aggregation.services import ApiServices
from kubeling.apiserver.aggregation.trust import FRONT_PROXY, trust_objects
from kubeling.apiserver.custommetrics import handler as custom
from kubeling.apiserver.custommetrics.scraper import Scraper
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.tls import Authority, Identity
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["Aggregation"]


class Aggregation:
    """The delegates, and what keeps them; ``authority`` is the certificate users' are signed by."""

    def __init__(self, registry: Registry, front_proxy: Authority, authority: str) -> None:
        self.delegates = Delegates()
        self._front_proxy = front_proxy
        self._authority = authority
        self._clock = registry.clock
        self._connections = Connections(registry.store, self._identity)
        self._scraper = Scraper(registry.clock)
        metrics = custom.CustomMetrics(registry, self.delegates, self._scraper)
        self.delegates.add_own(custom.GROUP, custom.VERSION, metrics)
        self._services = ApiServices(registry, self.delegates, self._connections)

    def objects(self) -> Iterable[tuple[Resource, Obj]]:
        """What extension API servers need to find."""
        return trust_objects(self._authority, self._front_proxy.certificate)

    async def begin(self) -> None:
        """Lists what is served from the first."""
        await self._services.list_local()

    async def run(self) -> None:
        """Works until cancelled."""
        await self._services.run()

    async def close(self) -> None:
        """Closes what is open."""
        await self._connections.close()
        await self._scraper.close()

    def _identity(self) -> Identity:
        return self._front_proxy.client(FRONT_PROXY, (), self._clock.now())
