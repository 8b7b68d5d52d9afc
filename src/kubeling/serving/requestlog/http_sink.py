"""CloudEvents 1.0 in binary mode to an address, as upstream's agent sends them.

Source: kserve's pkg/logger/worker.go. One client for all, several posts at once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from kubeling.serving.requestlog.delivery import SinkAway
from kubeling.serving.requestlog.events import Event, Origin
from kubeling.serving.requestlog.record import Counts, LogSettings

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpSink", "headers_of"]

_AT_ONCE: Final = 16
_SECONDS: Final = 5.0
_LATER: Final = frozenset({408, 425, 429})


class HttpSink:
    """Posts each event; one that is refused for good is counted."""

    size = _AT_ONCE
    interval = 0.001

    def __init__(self, settings: LogSettings, origin: Origin, counts: Counts) -> None:
        self._settings = settings
        self._origin = origin
        self._counts = counts
        self._session: aiohttp.ClientSession | None = None

    async def send(self, events: Sequence[Event]) -> Sequence[Event]:
        """Posts them side by side."""
        if self._session is None:
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        session = self._session
        posted = await asyncio.gather(*(self._post(session, event) for event in events))
        left = [event for event, error in zip(events, posted, strict=True) if error is not None]
        if len(left) == len(events):
            raise SinkAway(f"{self._settings.url}: {next(error for error in posted if error)}")
        return left

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, session: aiohttp.ClientSession, event: Event) -> str | None:
        """Why it is to be tried again, or ``None``."""
        import aiohttp

        headers = headers_of(event, self._settings, self._origin)
        try:
            async with session.post(self._settings.url, data=event.data, headers=headers) as answer:
                if answer.status >= 500 or answer.status in _LATER:
                    return f"it answers {answer.status}"
                if answer.status >= 300:
                    self._counts.dropped += 1
                else:
                    self._counts.written += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            return str(error) or "no answer in time"
        return None


def headers_of(event: Event, settings: LogSettings, origin: Origin) -> Mapping[str, str]:
    """The attributes of an event, under upstream's names.

    ``endpoint`` is the revision: upstream's is a label of Knative's day that nothing sets any more.
    """
    found = {
        "Content-Type": "application/json",
        "Ce-Specversion": "1.0",
        "Ce-Id": event.id,
        "Ce-Type": f"org.kubeflow.serving.inference.{event.kind}",
        "Ce-Source": origin.source,
        "Ce-Time": event.time,
        "Ce-Recordedtime": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
        "Ce-Inferenceservicename": origin.service or event.model,
        "Ce-Namespace": origin.namespace,
        "Ce-Component": origin.component,
        "Ce-Endpoint": event.revision,
        "Ce-Metadata": event.metadata,
    }
    if settings.annotations:
        found["Ce-Annotations"] = msgspec.json.encode(settings.annotations).decode()
    if settings.failures:
        found["Ce-Statuscode"] = str(event.status)
    return {name: _escaped(value) for name, value in found.items()}


def _escaped(value: str) -> str:
    """Percent-encoded where it is no printable ASCII; quotes stay, as upstream leaves them."""
    if value.isascii() and value.isprintable():
        return value
    return "".join(
        character
        if " " <= character <= "~" and character != "%"
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in value
    )
