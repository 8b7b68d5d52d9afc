"""Auditing: stands around the one handler of requests and tells what went through it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from kubeling.apiserver.api import Handle, request_attributes
from kubeling.apiserver.audit.annotations import collected
from kubeling.apiserver.audit.event import (
    LEVELS,
    AuditedRequest,
    ObjectReference,
    Stage,
    event_of,
)
from kubeling.apiserver.audit.logfile import AuditFile
from kubeling.apiserver.audit.policy import AuditPolicy
from kubeling.apiserver.bodies import read_object, read_patch
from kubeling.apiserver.rbac import Rbac
from kubeling.apiserver.requests import (
    Answer,
    ApiRequest,
    BytesAnswer,
    ConnectionAnswer,
    ObjectAnswer,
    StoredAnswer,
    StreamAnswer,
    WatchAnswer,
)
from kubeling.apiserver.user import User
from kubeling.kube.clock import Clock
from kubeling.kube.errors import ApiError, InternalError
from kubeling.kube.objects import Obj

__all__ = ["Auditor"]

T = TypeVar("T")

_DECISION: Final = "authorization.k8s.io/decision"
_REASON: Final = "authorization.k8s.io/reason"
_OBJECTS: Final = frozenset({"create", "update"})
_WRITES: Final = _OBJECTS | {"patch"}


class Auditor:
    """Records requests as a policy wants it."""

    def __init__(self, file: AuditFile, policy: AuditPolicy, rbac: Rbac, clock: Clock) -> None:
        self._file = file
        self._policy = policy
        self._rbac = rbac
        self._clock = clock

    def around(self, handle: Handle) -> Handle:
        """The handler that records what ``handle`` is asked and answers."""

        async def audited(request: ApiRequest) -> Answer:
            entry = self._begin(request)
            if entry is None:
                return await handle(request)
            token = collected.set(entry.annotations)
            try:
                answer = await handle(request)
            except ApiError as error:
                self._failed(entry, error)
                raise
            except Exception:
                entry.status = _status(InternalError("the server failed").status)
                self._tell(entry, "Panic")
                raise
            finally:
                collected.reset(token)
            return self._answered(entry, answer)

        return audited

    def refused(self, request: ApiRequest, user: User | None, error: ApiError) -> None:
        """Records a request that got no further than who it is from; ``None`` is nobody known."""
        entry = self._entry(request, user)
        if entry is not None:
            entry.status = _status(error.status)
            self._tell(entry, "ResponseStarted" if user is None else "ResponseComplete")

    def close(self) -> None:
        """Writes what waits."""
        self._file.close()

    def _begin(self, request: ApiRequest) -> AuditedRequest | None:
        entry = self._entry(request, request.impersonator or request.user)
        if entry is None:
            return None
        if request.impersonator is not None:
            entry.impersonated = request.user
        self._tell(entry, "RequestReceived")
        allowed, reason = self._rbac.decide(request.user, request_attributes(request))
        entry.annotations = {_DECISION: "allow" if allowed else "forbid", _REASON: reason}
        return entry

    def _entry(self, request: ApiRequest, user: User | None) -> AuditedRequest | None:
        """What is known of a request at first; ``None`` where it is not recorded."""
        wanted = request_attributes(request)
        recording = self._policy.recording(user, wanted)
        about, level = None, recording.level
        if level == "None":
            return None
        if not wanted.path:
            about = ObjectReference(
                wanted.group,
                wanted.version,
                wanted.resource,
                wanted.subresource,
                wanted.namespace,
                wanted.name,
            )
            if about.is_secret:
                level = "Metadata"
        query = urlencode({key: request.query.all(key) for key in request.query}, doseq=True)
        entry = AuditedRequest(
            audit_id=request.audit_id,
            level=level,
            uri=f"{request.path}?{query}" if query else request.path,
            verb=wanted.verb,
            user=user,
            source=request.source,
            user_agent=request.user_agent,
            received=self._clock.now(),
            about=about,
            omit_stages=recording.omit_stages,
            omit_managed_fields=recording.omit_managed_fields,
        )
        bodies = LEVELS.index(level) >= LEVELS.index("Request")
        if about is not None and (wanted.verb == "create" or (bodies and wanted.verb in _WRITES)):
            sent = _sent(request, wanted.verb)
            about.learn(sent)
            if bodies:
                entry.request_object = sent
        return entry

    def _failed(self, entry: AuditedRequest, error: ApiError) -> None:
        entry.status = _status(error.status)
        if entry.level == "RequestResponse":
            entry.response_object = error.status
        self._tell(entry, "ResponseComplete")

    def _answered(self, entry: AuditedRequest, answer: Answer) -> Answer:
        match answer:
            case ObjectAnswer():
                entry.status = {"metadata": {}, "code": answer.code}
                if entry.about is not None and entry.verb in _WRITES:
                    entry.about.learn(answer.obj)
                if entry.level == "RequestResponse":
                    entry.response_object = answer.obj
                self._tell(entry, "ResponseComplete")
            case StoredAnswer():
                entry.status = {"metadata": {}, "code": 200}
                if entry.level == "RequestResponse":
                    entry.response_object = answer.stored.obj
                self._tell(entry, "ResponseComplete")
            case BytesAnswer():
                entry.status = {"metadata": {}, "code": answer.code}
                self._tell(entry, "ResponseComplete")
            case WatchAnswer():
                self._started(entry, 200)
                return WatchAnswer(self._until_over(entry, answer.changes), answer.form)
            case StreamAnswer():
                self._started(entry, 200)
                chunks = self._until_over(entry, answer.chunks)
                return StreamAnswer(chunks, answer.content_type)
            case ConnectionAnswer():
                return ConnectionAnswer(self._connected(entry, answer))
        return answer

    def _started(self, entry: AuditedRequest, code: int) -> None:
        entry.status = {"metadata": {}, "code": code}
        self._tell(entry, "ResponseStarted")

    async def _until_over(
        self, entry: AuditedRequest, parts: AsyncGenerator[T, None]
    ) -> AsyncGenerator[T, None]:
        try:
            async for part in parts:
                yield part
        finally:
            self._tell(entry, "ResponseComplete")
            await parts.aclose()

    def _connected(
        self, entry: AuditedRequest, answer: ConnectionAnswer
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            self._started(entry, 101)
            try:
                response = await answer.serve(request)
                entry.status = {"metadata": {}, "code": response.status}
                return response
            except ApiError as error:
                entry.status = _status(error.status)
                raise
            finally:
                self._tell(entry, "ResponseComplete")

        return serve

    def _tell(self, entry: AuditedRequest, stage: Stage) -> None:
        if stage not in entry.omit_stages:
            self._file.write(msgspec.json.encode(event_of(entry, stage, self._clock.now())))


def _sent(request: ApiRequest, verb: str) -> object:
    """The body, if it can be read."""
    try:
        return read_object(request) if verb in _OBJECTS else read_patch(request)
    except ApiError:
        return None


def _status(status: Obj) -> Obj:
    """A ``Status`` without what every one of them says."""
    return {key: value for key, value in status.items() if key not in ("kind", "apiVersion")}
