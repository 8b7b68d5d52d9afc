"""The embedded API server: what it is made of, and its life from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubeling.apiserver.admission import AdmissionChain
from kubeling.apiserver.api import Api
from kubeling.apiserver.bootstrap import bootstrap
from kubeling.apiserver.builtin_catalog import builtin_resources
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.local import LocalTransport
from kubeling.apiserver.rbac import Rbac
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest
from kubeling.apiserver.shapes import custom_shape
from kubeling.apiserver.storage import Store
from kubeling.apiserver.user import ADMIN, User
from kubeling.apiserver.verbs import Verbs
from kubeling.kube.admission import Admission
from kubeling.kube.clock import Clock, SystemClock
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["ApiServer", "ApiServerConfig"]

_HOUSEKEEPING_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ApiServerConfig:
    """How to run one server.

    ``data_dir`` holds the objects and the keys; who may use it at a time is the caller's business.
    ``port`` 0 takes a free one, ``None`` serves this process only.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int | None = None
    power_loss_safe: bool = False


class ApiServer:
    """One API server. :meth:`start` it, use it through transports, :meth:`stop` it."""

    def __init__(
        self,
        config: ApiServerConfig,
        *,
        admission: Mapping[Resource, Admission] | None = None,
        crds: Iterable[Obj] = (),
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.running = False
        self._rooms = dict(admission or {})
        self._crds: Sequence[Obj] = list(crds)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Opens the store and serves; raises ``StorageError`` in words for people."""
        self.store = Store.open(
            self.config.data_dir / "objects.db", power_loss_safe=self.config.power_loss_safe
        )
        self.store.start()
        self.catalog = Catalog(builtin_resources(""), custom_shape)
        self.store.subscribe(
            "apiextensions.k8s.io/customresourcedefinitions", self.catalog.on_definition
        )
        self.rbac = Rbac(self.store)
        chain = AdmissionChain(self.store, self._rooms)
        self.registry = Registry(self.store, self.catalog, chain, self.clock)
        await bootstrap(self.store, self.catalog, self.clock, self._crds)
        self._api = Api(self.catalog, Verbs(self.registry), self.rbac, _nothing, {})
        self.running = True
        self._tasks.append(asyncio.create_task(self._keep_house(), name="apiserver housekeeping"))

    async def stop(self) -> None:
        """Ends all watches, commits what is under way, and closes the store."""
        self.running = False
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.store.close()

    async def handle(self, request: ApiRequest) -> Answer:
        """Answers one request of an authenticated user."""
        return await self._api.handle(request)

    def local_transport(
        self, user: str = ADMIN.name, groups: Sequence[str] = ADMIN.groups
    ) -> LocalTransport:
        """A transport for this process, acting as the given user."""
        return LocalTransport(self, User(user, tuple(groups)))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            self.store.expire_history()


def _nothing(request: ApiRequest) -> Answer:
    raise NotFound("the server could not find the requested resource")
