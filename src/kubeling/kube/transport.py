"""How requests travel: the contract both ends of the API are written against.

A transport carries REST requests to an API server. There are two: in process (the embedded
server calls its own handlers) and HTTPS (:mod:`kubeling.kube.https`). The same parametrised tests
hold both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kubeling.kube.objects import Obj

__all__ = [
    "APPLY_PATCH",
    "JSON",
    "JSON_PATCH",
    "MERGE_PATCH",
    "STRATEGIC_PATCH",
    "TABLE",
    "EventType",
    "Request",
    "Transport",
    "WatchEvent",
]

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


@dataclass(slots=True)
class Request:
    """One request: ``path`` begins with ``/api`` or ``/apis``; ``body`` is a JSON value.

    With ``acting_as`` it is made in the name of that user, by whose rights it is then judged.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    accept: str = JSON
    acting_as: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. ``object`` may be shared with other watchers: read it, do not change it."""

    type: EventType
    object: Obj


class Transport(Protocol):
    """Carries requests to one API server.

    Guarantees: an answer means the write is durable; every failure the server reports is raised as
    :class:`~kubeling.kube.errors.ApiError`, every failure to reach it as :class:`ConnectionError`;
    cancelling a call releases whatever it held. All methods may be used concurrently from one
    event loop. ``send`` returns an object of the caller's own; ``watch`` yields shared ones.
    """

    async def send(self, request: Request) -> Obj:
        """Sends one request and returns the decoded answer."""
        ...

    def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        """Yields changes until the server closes the stream; ``ERROR`` events are raised."""
        ...

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the answer's body as it arrives (logs)."""
        ...

    async def close(self) -> None:
        """Releases connections; calls under way fail with :class:`ConnectionError`."""
        ...
