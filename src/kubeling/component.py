"""What a room offers the platform, and what the platform offers a room.

Every component has a ``component.py`` with one :class:`Component`. Its members are functions, so
that naming a component imports nothing heavy; the composition root (``kubeling up``, ``kubeling
controllers``) calls them when it needs what they return.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from kubeling.kube.admission import Admission
from kubeling.kube.client import Client
from kubeling.kube.clock import Clock, SystemClock
from kubeling.kube.controller import Controller
from kubeling.kube.events import EventRecorder
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.monitoring.registry import Registry

if TYPE_CHECKING:
    from aiohttp import web

    from kubeling.artifacts.store import ArtifactStore
    from kubeling.metadata.database import Database

__all__ = [
    "COMPONENTS",
    "Component",
    "ConnectionTaker",
    "Context",
    "HostHandler",
    "Listener",
    "RequestHandler",
    "Settings",
    "load_components",
]

_OPENING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Settings:
    """What every room may need to know about the installation."""

    data_dir: Path
    workspace: Path
    gateway_url: str = "http://127.0.0.1:8080"
    cluster_domain: str = "cluster.local"
    ingress_domain: str = "example.com"
    database_url: str = ""
    artifact_root: str = ""
    user: str = "user@example.com"
    rooms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By room, settings of its own; the room knows what they mean."""

    @property
    def metadata_url(self) -> str:
        """Where run history, lineage, observations and the registry are kept."""
        return self.database_url or f"sqlite:///{self.data_dir / 'metadata.db'}"

    @property
    def artifacts_uri(self) -> str:
        """Where artifacts are kept unless a run says otherwise."""
        return self.artifact_root or (self.data_dir / "artifacts").as_uri()


@dataclass
class Context:
    """What the platform gives a room's controllers and REST faces."""

    client: Client
    informers: Informers
    settings: Settings
    clock: Clock = field(default_factory=SystemClock)

    def recorder(self, component: str) -> EventRecorder:
        """A recorder of events in the component's name."""
        return EventRecorder(self.client, component, self.clock)

    @cached_property
    def database(self) -> Database:
        """The metadata database, opened (and migrated) on first use."""
        from kubeling.metadata.database import Database

        return Database(self.settings.metadata_url)

    async def open_database(self) -> Database:
        """The metadata database, imported and migrated off the event loop."""
        if "database" in self.__dict__ and self.database.is_open:
            return self.database
        return await asyncio.to_thread(self._open_database)

    def _open_database(self) -> Database:
        with _OPENING:
            self.database.open()
            return self.database

    @cached_property
    def metrics(self) -> Registry:
        """The numbers that the platform serves at ``/metrics``."""
        return Registry()

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        from kubeling.artifacts.store import ArtifactStore

        return ArtifactStore(self.settings.artifacts_uri)


def _nothing() -> list[Obj]:
    return []


def _no_admission() -> dict[Resource, Admission]:
    return {}


def _no_controllers(_: Context) -> list[Controller]:
    return []


def _no_routes(_: Context) -> list[web.AbstractRouteDef]:
    return []


def _no_hosts(_: Context) -> None:
    return None


def _no_taker(_: Context) -> None:
    return None


def _no_listeners(_: Context) -> Sequence[Listener]:
    return ()


RequestHandler = Callable[["web.Request"], Awaitable["web.StreamResponse"]]
HostHandler = Callable[["web.Request"], RequestHandler | None]
"""Returns what answers a request by its ``Host`` header, or ``None`` if the host is not claimed."""


class ConnectionTaker(Protocol):
    """Speaks with clients itself where the first bytes of a connection are for it."""

    def takes(
        self, beginning: bytes, otherwise: Callable[[], asyncio.Protocol]
    ) -> asyncio.Protocol | None:
        """What speaks with a client, or ``None``.

        What took a connection may leave it, with what it has read since, to ``otherwise``.
        """

    async def drained(self, seconds: float) -> None:
        """Lets answers under way end, for some seconds at most; takes no more requests."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What a room serves beside the gateway, for clients that speak something else than HTTP/1.

    Pods find it as the Service ``name`` of the namespace ``kubeflow`` at ``port``. ``serving``
    serves at an address until the block is left, and gives the port; 0 means any.
    """

    name: str
    port: int
    serving: Callable[[str, int], AbstractAsyncContextManager[int]]


@dataclass(frozen=True, slots=True)
class Component:
    """One room of the house.

    ``objects`` are created once with the platform if absent (built-in runtimes, roles, ConfigMaps);
    ``routes`` are mounted on the gateway, at upstream's paths.
    """

    name: str
    crds: Callable[[], Sequence[Obj]] = _nothing
    admission: Callable[[], Mapping[Resource, Admission]] = _no_admission
    objects: Callable[[], Sequence[Obj]] = _nothing
    controllers: Callable[[Context], Sequence[Controller]] = _no_controllers
    routes: Callable[[Context], Sequence[web.AbstractRouteDef]] = _no_routes
    host_handler: Callable[[Context], HostHandler | None] = _no_hosts
    connection_taker: Callable[[Context], ConnectionTaker | None] = _no_taker
    listeners: Callable[[Context], Sequence[Listener]] = _no_listeners


COMPONENTS: Final = (
    "workflows",
    "pipelines",
    "tuning",
    "training",
    "serving",
    "notebooks",
    "tenancy",
    "registry",
)


def load_components(names: Sequence[str] = COMPONENTS) -> list[Component]:
    """The components of the given names, in order."""
    return [importlib.import_module(f"kubeling.{name}.component").COMPONENT for name in names]
