"""What pages ask of the components' REST faces, over the platform's own address.

The pipelines API and the model registry keep relational state that no resource holds. The pages
read it the way any client does, so they show what a client would get.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import msgspec

from kubeling.component import Context

__all__ = ["Refused", "RestClient"]

_TIMEOUT = aiohttp.ClientTimeout(total=15)


class Refused(ConnectionError):
    """The component answered, with an error."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class RestClient:
    """GETs JSON from the platform's own routes."""

    def __init__(self, context: Context) -> None:
        self._base = context.settings.gateway_url
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """The answer; raises :class:`Refused` with the component's own words if it refuses.

        A server that cannot be reached, or takes too long, is a :class:`ConnectionError`.
        """
        answer: dict[str, Any] = msgspec.json.decode(await self.read(path, **query))
        return answer

    async def read(self, path: str, **query: str) -> bytes:
        """The answer's body as it is."""
        try:
            return await self._read(path, query)
        except (aiohttp.ClientError, TimeoutError) as error:
            said = str(error) or "no answer in time"
            raise ConnectionError(f"{path}: {said}") from error

    async def _read(self, path: str, query: dict[str, str]) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        async with self._session.get(self._base + path, params=query) as response:
            if response.status >= 400:
                raise Refused(_message(await response.text()), response.status)
            return await response.read()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _message(body: str) -> str:
    """The sentence in an error's body: every component's errors are JSON with a ``message``."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body
