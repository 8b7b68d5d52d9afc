"""The transport for controllers in the server's own process: no sockets, no encoding.

Answers are copies, so that callers may change them; watched objects are shared with the store, as
the contract of transports allows.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from kubeling.apiserver.impersonation import impersonated
from kubeling.apiserver.query import Query
from kubeling.apiserver.requests import (
    ApiRequest,
    BytesAnswer,
    ConnectionAnswer,
    ObjectAnswer,
    StoredAnswer,
    StreamAnswer,
    WatchAnswer,
)
from kubeling.apiserver.uids import new_uid
from kubeling.apiserver.user import User
from kubeling.kube.errors import error_from_status
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.transport import Request, WatchEvent

if TYPE_CHECKING:
    from kubeling.apiserver.server import ApiServer

__all__ = ["LocalTransport"]


class LocalTransport:
    """Implements :class:`~kubeling.kube.transport.Transport` on a server in this process."""

    def __init__(self, server: ApiServer, user: User) -> None:
        self._server = server
        self._user = user
        self._closed = False

    async def send(self, request: Request) -> Obj:
        answer = await self._server.handle(self._request(request))
        if isinstance(answer, ConnectionAnswer) and answer.fetch is not None:
            return _decoded(await answer.fetch())
        if isinstance(answer, StoredAnswer):
            stored: Obj = msgspec.json.decode(answer.stored.encoded)
            return stored
        if isinstance(answer, ObjectAnswer):
            copied: Obj = deep_copy(answer.obj)
            return copied
        if isinstance(answer, BytesAnswer):
            if answer.content_type.startswith("application/json"):
                decoded: Obj = msgspec.json.decode(answer.body)
                return decoded
            raise ValueError(f"{request.path} answers {answer.content_type}, not an object")
        raise ValueError(f"{request.path} answers with a stream: use watch() or stream()")

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        answer = await self._server.handle(self._request(request))
        if not isinstance(answer, WatchAnswer):
            raise ValueError(f"{request.path} is not a watch")
        async with contextlib.aclosing(answer.changes) as changes:
            async for together in changes:
                for change in together:
                    yield WatchEvent(change.type, change.object)

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        answer = await self._server.handle(self._request(request))
        if isinstance(answer, BytesAnswer):
            yield answer.body
        elif isinstance(answer, StreamAnswer):
            try:
                async for chunk in answer.chunks:
                    yield chunk
            finally:
                await answer.chunks.aclose()
        else:
            raise ValueError(f"{request.path} is not a stream")

    async def close(self) -> None:
        self._closed = True

    def _request(self, request: Request) -> ApiRequest:
        if self._closed or not self._server.running:
            raise ConnectionError("the API server in this process has stopped")
        user = self._user
        if request.acting_as:
            headers = [("Impersonate-User", request.acting_as)]
            user = impersonated(user, headers, self._server.rbac)
        return ApiRequest(
            method=request.method,
            path=request.path,
            user=user,
            impersonator=self._user if user is not self._user else None,
            query=Query(request.query.items()),
            value=request.body,
            content_type=request.content_type,
            accept=request.accept,
            user_agent="kubeling",
            audit_id=new_uid() if self._server.audited else "",
        )


def _decoded(answer: BytesAnswer) -> Obj:
    """An answer of somebody else's, who may have refused."""
    try:
        body = msgspec.json.decode(answer.body) if answer.body else {}
    except msgspec.DecodeError:
        body = None
    if answer.code >= 400:
        text = answer.body.decode(errors="replace").strip()
        status = body if isinstance(body, dict) and body.get("kind") == "Status" else None
        said = {"message": text or f"HTTP {answer.code}"}
        raise error_from_status(status or said, answer.code)
    if not isinstance(body, dict):
        raise ValueError("the answer is not an object")
    return body
