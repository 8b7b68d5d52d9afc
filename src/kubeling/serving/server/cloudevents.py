"""CloudEvents around V1 requests, as kserve's server takes and answers them.

A binary event has its attributes in ``ce-`` headers, a structured one around its data. The answer
to an event is an event of the same kind; ``CE_TYPE``, ``CE_SOURCE`` and ``CE_MERGE`` change it as
upstream's documentation says. Source: python/kserve, protocol/dataplane.py and utils/utils.py.
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Event", "event_of", "event_of_bytes"]

_CONTENT_TYPE: Final = "application/cloudevents+json"
_NEEDED: Final = ("id", "source", "type", "specversion")


@dataclass(frozen=True, slots=True)
class Event:
    """A request that came as an event."""

    data: Any
    attributes: Mapping[str, Any]
    binary: bool

    def answer(self, model: str, body: Any) -> tuple[Any, str, dict[str, str]]:
        """The answer as an event: its body, content type and headers."""
        attributes = _answer_attributes(model, self.attributes)
        if not self.binary:
            return {**attributes, "data": body}, _CONTENT_TYPE, {}
        headers = {f"ce-{name}": str(value) for name, value in attributes.items()}
        return body, "application/json", headers


def event_of(body: Any, headers: Mapping[str, str]) -> Event | None:
    """The event in a request, if it is one."""
    if "ce-id" in headers and all(f"ce-{name}" in headers for name in _NEEDED):
        attributes = {k[3:]: v for k, v in headers.items() if k.startswith("ce-")}
        return Event(body, attributes, binary=True)
    if not isinstance(body, dict) or "specversion" not in body:
        return None
    if "data" in body and all(name in body for name in _NEEDED):
        attributes = {name: value for name, value in body.items() if name != "data"}
        return Event(body["data"], attributes, binary=False)
    return None


def event_of_bytes(body: bytes, headers: Mapping[str, str]) -> Event | None:
    """A binary event whose data says that it is no JSON: the model reads it itself."""
    said = ("ce-content-type", "ce-datacontenttype", "content-type")
    kind = next((headers[name] for name in said if name in headers), "application/json")
    return None if "json" in kind or "x-www-form-urlencoded" in kind else event_of(body, headers)


def _answer_attributes(model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    merge = os.environ.get("CE_MERGE", "false").lower() == "true"
    kept = {k: v for k, v in asked.items() if k != "datacontenttype"} if merge else {}
    return {
        **kept,
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "time": dt.datetime.now(dt.UTC).isoformat(),
        "type": os.environ.get("CE_TYPE", "io.kserve.inference.response"),
        "source": os.environ.get("CE_SOURCE", f"io.kserve.inference.{model}"),
    }
