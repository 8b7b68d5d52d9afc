"""What leaves the server: one event for a request and one for its answer, with the same id."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from kubeling.serving.requestlog.record import Kind, LogSettings, Record

__all__ = ["Event", "Origin", "events_of"]

_OK: Final = 200


class Event(msgspec.Struct, frozen=True, gc=False):
    """A request or an answer, encoded; ``metadata`` is JSON."""

    kind: Kind
    id: str
    time: str
    model: str
    revision: str
    status: int
    data: bytes
    metadata: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where events come from, as upstream's agent is told in its arguments."""

    service: str
    namespace: str
    component: str
    source: str

    @classmethod
    def of_this_pod(cls) -> Origin:
        """From the environment that every container of a service has."""
        return cls(
            os.environ.get("INFERENCE_SERVICE_NAME", ""),
            os.environ.get("POD_NAMESPACE", ""),
            os.environ.get("SERVING_COMPONENT", "predictor"),
            socket.gethostname(),
        )


def events_of(record: Record, settings: LogSettings) -> Iterator[Event]:
    """The events of a record. Raises what encoding raises."""
    metadata = _metadata(record, settings)
    if settings.mode != "response":
        yield _event(record, "request", msgspec.json.encode(record.request), metadata)
    if settings.mode != "request" and (record.status == _OK or settings.failures):
        yield _event(record, "response", msgspec.json.encode(record.response), metadata)


def _event(record: Record, kind: Kind, data: bytes, metadata: str) -> Event:
    return Event(
        kind, record.id, record.time, record.model, record.revision, record.status, data, metadata
    )


def _metadata(record: Record, settings: LogSettings) -> str:
    """The headers that are wanted, each with its values, as upstream encodes them."""
    if not settings.metadata_headers:
        return "{}"
    found = {
        name: [record.headers[name.lower()]]
        for name in settings.metadata_headers
        if name.lower() in record.headers
    }
    return msgspec.json.encode(found).decode()
