"""Passes requests on, and sees the predictions among them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from aiohttp import web

from kubeling.monitoring.tracing import Tracer, current_span
from kubeling.proxying.headers import end_to_end
from kubeling.proxying.websockets import connected, is_websocket, joined
from kubeling.serving import spans
from kubeling.serving.agent.answers import Answer
from kubeling.serving.requestlog.folder import read_folder
from kubeling.serving.requestlog.record import Counts, RequestLog, new_record
from kubeling.serving.server.errors import ServingError
from kubeling.serving.server.rest_v2 import HEADER
from kubeling.serving.server.sampling import Sampler, WantedAnswers, came_through_a_gateway

if TYPE_CHECKING:
    from kubeling.serving.server.merging import Merger

__all__ = ["Agent", "Duties", "create_app", "is_prediction", "to_json"]

_MAX_BODY: Final = 256 * 1024 * 1024
_PREDICTIONS: Final = (":predict", "/infer", ":explain")
_RECORDED: Final = 16 * 1024 * 1024
"""Of a longer answer only the status is recorded."""

Seen = Callable[[bytes, bytes, Mapping[str, str]], None]
"""Takes the request and the answer of a prediction that succeeded."""


@dataclass
class Duties:
    """What the agent is to do besides passing requests on."""

    log: RequestLog | None = None
    counts: Counts = field(default_factory=Counts)
    log_folder: Path | None = None
    sampler: Sampler | None = None
    merger: Merger | None = None
    seen: list[Seen] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether predictions have to be read."""
        duties = (self.log, self.sampler, self.merger)
        return bool(self.seen) or any(duty is not None for duty in duties)


class Agent:
    """Answers for the container at ``target`` (a base URL)."""

    def __init__(self, target: str, duties: Duties) -> None:
        self._target = target.rstrip("/")
        self.duties = duties
        self.tracer: Tracer | None = None
        self._session: aiohttp.ClientSession | None = None

    async def lifespan(self, _: web.Application) -> AsyncIterator[None]:
        """Holds the session to the container."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as session:
            self._session = session
            yield

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Passes a request on; predictions are read on the way, if there is a use for them."""
        if self.tracer is None or request.method != "POST":
            return await self._forward(request)
        about = {spans.COMPONENT: "agent"}
        span = spans.request_of(self.tracer, request.method, request.path, request.headers, about)
        token, status = current_span.set(span), 499
        try:
            answer = await self._forward(request)
            status = answer.status
            return answer
        finally:
            current_span.reset(token)
            spans.ended(span, status)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        try:
            if is_websocket(request.headers):
                return await self._websocket(request)
            if self.duties.any and is_prediction(request):
                return await self._predicted(request)
            return await self._passed_on(request)
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or error.os_error
            where = f"{error.host}:{error.port}"
            return to_json({"error": f"{self.whom} cannot be reached at {where}: {why}"}, 503)
        except aiohttp.ClientError as error:
            return to_json({"error": f"{self.whom} cannot be reached: {error}"}, 503)

    whom = "the container"

    async def feedback(self, request: web.Request) -> web.StreamResponse:
        """Takes what was true of earlier requests, where they are sampled."""
        if self.duties.sampler is None:
            return await self.forward(request)
        try:
            accepted = self.duties.sampler.told(msgspec.json.decode(await request.read()))
        except msgspec.DecodeError as error:
            return to_json({"error": f"the body is not valid JSON: {error}"}, 400)
        except ServingError as error:
            return to_json({"error": str(error)}, error.http_status)
        return to_json({"accepted": accepted}, 202)

    async def samples(self, request: web.Request) -> web.StreamResponse:
        """What the platform watches it by."""
        if self.duties.sampler is None or came_through_a_gateway(request.headers):
            return await self.forward(request)
        try:
            asked = msgspec.json.decode(await request.read() or b"{}", type=WantedAnswers)
        except msgspec.MsgspecError as error:
            return to_json({"error": str(error)}, 400)
        return to_json(self.duties.sampler.look(asked.answers))

    async def profile(self, request: web.Request) -> web.StreamResponse:
        """The reference profile that lies beside the model."""
        if self.duties.sampler is None:
            return await self.forward(request)
        found = self.duties.sampler.profile()
        if found is None:
            return to_json({"error": "there is no reference profile beside the model"}, 404)
        return web.Response(body=found, content_type="application/json")

    async def requests(self, request: web.Request) -> web.StreamResponse:
        """What this pod recorded, as JSON lines."""
        if self.duties.log_folder is None:
            return await self.forward(request)
        body = await asyncio.to_thread(b"".join, read_folder(self.duties.log_folder))
        return web.Response(body=body, content_type="application/x-ndjson")

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """The container's own metrics, if it has some, and what the agent counted."""
        own = ""
        with contextlib.suppress(aiohttp.ClientError, UnicodeDecodeError):
            answer = await self.sent(request, b"")
            own = answer.body.decode() if answer.status == 200 else ""
        text = "\n".join([own.rstrip(), *self.duties.counts.text()]).lstrip() + "\n"
        return web.Response(text=text, content_type="text/plain")

    async def sent(
        self, request: web.Request, body: bytes, given: Mapping[str, str] | None = None
    ) -> Answer:
        """What the container answers to this body, with ``given`` in place of headers."""
        assert self._session is not None
        replaced = [HEADER, *given] if given else []
        dropped = ("host", "content-length", *(name.lower() for name in replaced))
        headers = end_to_end(request.headers, *dropped)
        headers.update(given or {})
        headers.update(_trace())
        # What is read here is not unpacked first.
        headers["Accept-Encoding"] = "identity"
        async with self._session.request(
            request.method,
            f"{self._target}{request.raw_path}",
            data=body,
            headers=headers,
            allow_redirects=False,
        ) as answer:
            kept = end_to_end(answer.headers, "content-length")
            return Answer(answer.status, kept, await answer.read())

    async def _predicted(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = await self.answer(request, body)
        self._note(request, body, answer)
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    async def answer(self, request: web.Request, body: bytes) -> Answer:
        """The answer to a prediction, in a batch if there are to be some."""
        if self.duties.merger is None:
            return await self.sent(request, body)
        from kubeling.serving.agent.batching import merged

        async def send(content: bytes, given: Mapping[str, str]) -> Answer:
            return await self.sent(request, content, given)

        return await merged(self.duties.merger, request.path, request.headers, body, send)

    def _note(self, request: web.Request, body: bytes, answer: Answer) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if answer.status == 200 and not request.path.endswith(":explain"):
            for seen in self.duties.seen:
                seen(body, answer.body, headers)
            if self.duties.sampler is not None:
                self.duties.sampler.saw(body, answer.body, headers)
        if self.duties.log is not None:
            model = request.path.split("/")[3].partition(":")[0]
            found = _read(answer.body) if len(answer.body) <= _RECORDED else None
            record = new_record(model, answer.status, _read(body), found, headers)
            self.duties.log.add(record)

    async def _passed_on(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        headers = end_to_end(request.headers, "host")
        headers.update(_trace())
        async with self._session.request(
            request.method,
            f"{self._target}{request.raw_path}",
            data=request.content if request.can_read_body else None,
            headers=headers,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except aiohttp.ClientError:
                # Its beginning is out: only a connection that ends says that the rest is missing.
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        headers = end_to_end(request.headers, "host")
        headers.update(_trace())
        far = await connected(self._session, request, f"{self._target}{request.raw_path}", headers)
        return await joined(request, far)


def is_prediction(request: web.Request) -> bool:
    """Whether a request is for a prediction, of either protocol."""
    path = request.path
    return (
        request.method == "POST"
        and path.startswith(("/v1/models/", "/v2/models/"))
        and path.endswith(_PREDICTIONS)
    )


def create_app(agent: Agent, more: Iterable[web.RouteDef] = ()) -> web.Application:
    """The agent's routes, and more; all others are the container's."""
    app = web.Application(client_max_size=_MAX_BODY)
    app.cleanup_ctx.append(contextlib.asynccontextmanager(agent.lifespan))
    app.add_routes(
        [
            web.get("/metrics", agent.metrics),
            web.post("/monitor/samples", agent.samples),
            web.get("/monitor/profile", agent.profile),
            web.get("/v1/models/{model}/requests", agent.requests),
            web.post("/v1/models/{model}:feedback", agent.feedback),
            web.post("/v2/models/{model}/feedback", agent.feedback),
            *more,
            web.route("*", "/{tail:.*}", agent.forward),
        ]
    )
    return app


def to_json(value: Any, status: int = 200) -> web.Response:
    """A value as an answer."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )


def _trace() -> dict[str, str]:
    """What the container learns of the trace, if there is one of the agent's."""
    span = current_span.get()
    return {} if span is None else span.headers()


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
