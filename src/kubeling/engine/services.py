"""What the pods of a node share: built once by the engine, handed to every pod worker."""

from __future__ import annotations

import asyncio
import datetime as dt
import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubeling.engine.changes import FileChanges
from kubeling.engine.config import EngineConfig
from kubeling.engine.containers import Supervisors
from kubeling.engine.devices import Devices
from kubeling.engine.environments import Environments
from kubeling.engine.images import Catalogue
from kubeling.engine.net.pool import NetworkPool
from kubeling.engine.netpolicy.enforcer import PolicyEnforcer
from kubeling.engine.oci.discovery import EngineFinder
from kubeling.engine.oci.images import Images
from kubeling.engine.pods import Backoff
from kubeling.engine.runtime import PodRuntime
from kubeling.engine.walls import Walls
from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.events import EventRecorder, EventType
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity

__all__ = ["NodeServices", "PodEvents"]

_AT_ONCE = 32
_LATER_SECONDS = 0.1


class PodEvents:
    """Events about pods, written in the background and a little later: no pod waits for them."""

    def __init__(self, recorder: EventRecorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Obj, EventType, str, str]] = asyncio.Queue()

    def normal(self, pod: Obj, reason: str, message: str) -> None:
        self._queue.put_nowait((pod, "Normal", reason, message))

    def warning(self, pod: Obj, reason: str, message: str) -> None:
        self._queue.put_nowait((pod, "Warning", reason, message))

    async def run(self) -> None:
        """Writes events until cancelled, several at once so that they share a commit."""
        while True:
            batch = [await self._queue.get()]
            if self._queue.empty():
                await self._clock.sleep(_LATER_SECONDS)
            while len(batch) < _AT_ONCE and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await asyncio.gather(*(self._recorder.event(*event) for event in batch))


@dataclass(frozen=True, slots=True)
class NodeServices:
    """The node as its pods see it."""

    config: EngineConfig
    client: Client
    informers: Informers
    clock: Clock
    runtime: PodRuntime
    supervisors: Supervisors
    walls: Walls
    networks: NetworkPool | None
    policies: PolicyEnforcer
    catalogue: Catalogue
    environments: Environments
    container_engine: EngineFinder
    engine_images: Images
    events: PodEvents
    scheduler_events: PodEvents
    changes: FileChanges
    host_ip: str
    allocatable: Mapping[str, Quantity]
    devices: Devices
    memory: Path | None
    """Where the volumes that are made of objects lie, if not in the pods' folders."""
    passed_env: Mapping[str, str] = field(default_factory=dict)

    @property
    def backoff(self) -> Backoff:
        return Backoff(self.config.backoff_base, self.config.backoff_max)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now().timestamp()

    def utc(self) -> dt.datetime:
        return self.clock.now()


def passed_env(patterns: tuple[str, ...]) -> dict[str, str]:
    """The platform's own variables that containers inherit."""
    return {
        name: value
        for name, value in os.environ.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
