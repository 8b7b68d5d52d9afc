"""What pages ask of the components' REST faces, over the platform's own address.

The pipelines API and the model registry keep relational state that no resource holds. The pages
read it the way any client does, so they show what a client would get.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec

from kubeling.component import Context

__all__ = ["Refused", "RestClient"]

_TIMEOUT = aiohttp.ClientTimeout(total=15)
_PATIENT = aiohttp.ClientTimeout(total=120)


class Refused(ConnectionError):
    """The component answered, with an error."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class RestClient:
    """JSON from and to the platform's own routes."""

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
        return await self._asked("GET", path, params=query)

    async def beginning(self, path: str, limit: int) -> tuple[bytes, bool, str]:
        """At most so many bytes of an answer, whether that is all of it, and its content type."""
        try:
            async with self._open("GET", path) as response:
                data = bytearray()
                async for piece in response.content.iter_any():
                    data += piece
                    if len(data) > limit:
                        return bytes(data[:limit]), False, response.content_type
                return bytes(data), True, response.content_type
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"{path}: {str(error) or 'no answer in time'}") from error

    async def send(
        self, method: str, path: str, body: Any = None, form: aiohttp.FormData | None = None
    ) -> dict[str, Any]:
        """Changes something; the answer, or as :meth:`get` if it is refused."""
        more = {"data": form} if form is not None else {"json": body if body is not None else {}}
        answer = await self._asked(method, path, **more)
        found: dict[str, Any] = msgspec.json.decode(answer or b"{}") or {}
        return found

    async def of_pod(self, address: str, path: str) -> Any:
        """The JSON that a pod answers at an address; ``None`` if it does not."""
        try:
            session = self._opened()
            async with session.get(f"http://{address}{path}") as response:
                return msgspec.json.decode(await response.read()) if response.ok else None
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            return None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self._session

    async def answered(self, path: str, body: Any = None) -> tuple[int, str, dict[str, str]]:
        """The status, the text and the headers of the answer, be it a refusal; waits for models.

        Posts a body as JSON, and gets where there is none.
        """
        method = "GET" if body is None else "POST"
        try:
            async with self._opened().request(
                method, self._base + path, json=body, timeout=_PATIENT
            ) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return response.status, await response.text(), headers
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"{path}: {str(error) or 'no answer in time'}") from error

    async def _asked(self, method: str, path: str, **more: Any) -> bytes:
        try:
            return await self._send(method, path, **more)
        except (aiohttp.ClientError, TimeoutError) as error:
            said = str(error) or "no answer in time"
            raise ConnectionError(f"{path}: {said}") from error

    async def _send(self, method: str, path: str, **more: Any) -> bytes:
        async with self._open(method, path, **more) as response:
            return await response.read()

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._opened().request(method, self._base + path, **more) as response:
            if response.status >= 400:
                raise Refused(_message(await response.text()), response.status)
            yield response

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _message(body: str) -> str:
    """The sentence in an error's body: JSON with a ``message``, in model serving an ``error``."""
    try:
        said = json.loads(body)
        return str(said.get("error_message") or said.get("message") or said["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return body
