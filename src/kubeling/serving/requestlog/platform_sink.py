"""Events to the platform, which files them in the metadata database (``metadata://``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.serving.requestlog.delivery import SinkAway
from kubeling.serving.requestlog.events import Event, Origin
from kubeling.serving.requestlog.record import Counts

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PlatformSink"]

_SECONDS: Final = 10.0
_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class PlatformSink:
    """Posts batches to the service's page of requests."""

    size = 200
    interval = 0.5

    def __init__(self, base: str, origin: Origin, counts: Counts) -> None:
        self._url = f"{base.rstrip('/')}/api/serving/{origin.namespace}/{origin.service}/requests"
        self._component = origin.component
        self._counts = counts
        self._session: aiohttp.ClientSession | None = None

    async def send(self, events: Sequence[Event]) -> Sequence[Event]:
        """Posts one batch."""
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        body = msgspec.json.encode([self._shown(event) for event in events])
        headers = {"Content-Type": "application/json", **_account()}
        try:
            async with self._session.post(self._url, data=body, headers=headers) as answer:
                if answer.status >= 500:
                    raise SinkAway(f"{self._url} answers {answer.status}")
                if answer.status >= 300:
                    self._counts.dropped += len(events)
                else:
                    self._counts.written += len(events)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SinkAway(f"{self._url}: {error}") from None
        return ()

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def _shown(self, event: Event) -> dict[str, Any]:
        return {
            "id": event.id,
            "kind": event.kind,
            "time": event.time,
            "component": self._component,
            "revision": event.revision,
            "model": event.model,
            "status": event.status,
            "metadata": msgspec.Raw(event.metadata.encode()),
            "data": msgspec.Raw(event.data),
        }


def _account() -> dict[str, str]:
    """Who this pod is, for a platform that asks; read each time, because tokens are renewed."""
    try:
        return {"Authorization": f"Bearer {_TOKEN.read_text().strip()}"}
    except OSError:
        return {}
