"""Events about objects, with client-go's aggregation: the same event again raises its count.

Written as core/v1 with ``firstTimestamp`` and ``lastTimestamp`` set, because the SDKs that show
events ignore those without. Recording never fails a reconciler: an event that cannot be written is
logged and dropped, as upstream's recorder does.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock, SystemClock
from kubeling.kube.errors import AlreadyExists, ApiError, NotFound
from kubeling.kube.objects import (
    Obj,
    format_time,
    name,
    namespace,
    resource_version,
    set_condition,
    uid,
)
from kubeling.kube.resources import EVENTS

__all__ = ["EventRecorder", "EventType", "Note", "conclude"]

log = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

_MAX_MESSAGE = 1024
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Note:
    """An event that a plan has decided on; whoever carries the plan out records it."""

    type: EventType
    reason: str
    message: str


def conclude(
    status: Obj, type: str, value: bool, *, reason: str, message: str, now: dt.datetime
) -> list[Note]:
    """Sets a condition in a status; what changed is to be told in an event of the same words."""
    if not set_condition(status, type, value, reason=reason, message=message, now=now):
        return []
    return [Note("Warning" if type == "Failed" else "Normal", reason, message)]


class EventRecorder:
    """Records events in the name of one component."""

    def __init__(self, client: Client, component: str, clock: Clock | None = None) -> None:
        self._client = client
        self._component = component
        self._clock = clock or SystemClock()
        self._counts: OrderedDict[str, int] = OrderedDict()

    async def normal(self, about: Obj, reason: str, message: str) -> None:
        """Records something that went as it should."""
        await self.event(about, "Normal", reason, message)

    async def warning(self, about: Obj, reason: str, message: str) -> None:
        """Records something the user should look at."""
        await self.event(about, "Warning", reason, message)

    async def record(self, about: Obj, notes: Iterable[Note]) -> None:
        """Records what a plan has decided on, in its order."""
        for note in notes:
            await self.event(about, note.type, note.reason, note.message)

    async def event(self, about: Obj, type: EventType, reason: str, message: str) -> None:
        """Records an event about an object; a repeated one raises ``count`` instead."""
        message = message[:_MAX_MESSAGE]
        event_name = self._name(about, type, reason, message)
        event_namespace = namespace(about) or "default"
        count = self._counts.get(event_name, 0) + 1
        try:
            if count > 1:
                await self._repeat(event_name, event_namespace, count)
            else:
                body = self._new(about, event_name, event_namespace, type, reason, message)
                await self._client.create(EVENTS, body, event_namespace)
        except AlreadyExists:
            count = await self._continue(event_name, event_namespace)
        except (ApiError, ConnectionError) as error:
            log.debug("event %s about %s dropped: %s", reason, name(about), error)
        self._counts[event_name] = count
        self._counts.move_to_end(event_name)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)

    async def _continue(self, event_name: str, event_namespace: str) -> int:
        existing = await self._client.find(EVENTS, event_name, event_namespace)
        count = int((existing or {}).get("count") or 1) + 1
        await self._repeat(event_name, event_namespace, count)
        return count

    async def _repeat(self, event_name: str, event_namespace: str, count: int) -> None:
        patch = {"count": count, "lastTimestamp": format_time(self._clock.now())}
        try:
            await self._client.patch(EVENTS, event_name, patch, event_namespace)
        except NotFound:
            self._counts.pop(event_name, None)

    def _name(self, about: Obj, type: str, reason: str, message: str) -> str:
        text = "\0".join((uid(about), about.get("kind", ""), type, reason, message))
        digest = hashlib.sha256(f"{self._component}\0{text}".encode()).hexdigest()[:16]
        return f"{name(about)[:200]}.{digest}"

    def _new(
        self,
        about: Obj,
        event_name: str,
        event_namespace: str,
        type: str,
        reason: str,
        message: str,
    ) -> Obj:
        stamp = format_time(self._clock.now())
        involved = {
            "apiVersion": about.get("apiVersion", ""),
            "kind": about.get("kind", ""),
            "name": name(about),
            "namespace": namespace(about),
            "uid": uid(about),
            "resourceVersion": resource_version(about),
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event_name, "namespace": event_namespace},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "type": type,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
