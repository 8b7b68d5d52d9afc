"""Passes requests on to the predictor and records those it answered."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web

from kubeling.serving.monitor.window import MonitorWindow
from kubeling.serving.server.errors import ServingError
from kubeling.serving.server.requestlog import RequestLog, new_record
from kubeling.serving.server.rest_v2 import HEADER
from kubeling.serving.server.sampling import Sampler, WantedAnswers

__all__ = ["Monitor", "create_app"]

_MAX_BODY: Final = 256 * 1024 * 1024
_PREDICTIONS: Final = (":predict", "/infer")
_NOT_PASSED: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "host"}
)


class Monitor:
    """Answers for the predictor at ``predictor`` (a base URL)."""

    def __init__(
        self, predictor: str, window: MonitorWindow, request_log: RequestLog | None
    ) -> None:
        self._predictor = predictor.rstrip("/")
        self._window = window
        self._log = request_log
        self._session: aiohttp.ClientSession | None = None
        self.sampler = Sampler()

    async def lifespan(self, _: web.Application) -> AsyncIterator[None]:
        """Holds the session to the predictor."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=True) as session:
            self._session = session
            yield

    async def drift(self, _: web.Request) -> web.Response:
        """The report over the window."""
        return _json(self._window.report())

    async def metrics(self, _: web.Request) -> web.Response:
        """The report as Prometheus gauges."""
        return web.Response(text=_metrics(self._window.report()), content_type="text/plain")

    async def samples(self, request: web.Request) -> web.Response:
        """What the platform watches it by."""
        try:
            asked = msgspec.json.decode(await request.read() or b"{}", type=WantedAnswers)
        except msgspec.MsgspecError as error:
            return _json({"error": str(error)}, 400)
        return _json(self.sampler.look(asked.answers))

    async def profile(self, _: web.Request) -> web.Response:
        """The reference it was given."""
        found = self._window.reference
        if found is None:
            return _json({"error": "no reference profile is given; set --reference"}, 404)
        return _json(found)

    async def feedback(self, request: web.Request) -> web.Response:
        """Takes what was true of earlier requests."""
        try:
            accepted = self.sampler.told(msgspec.json.decode(await request.read()))
        except msgspec.DecodeError as error:
            return _json({"error": f"the body is not valid JSON: {error}"}, 400)
        except ServingError as error:
            return _json({"error": str(error)}, error.http_status)
        return _json({"accepted": accepted}, 202)

    async def live(self, _: web.Request) -> web.Response:
        return _json({"live": True})

    async def forward(self, request: web.Request) -> web.Response:
        """Passes a request on; one that was answered is recorded."""
        assert self._session is not None
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _NOT_PASSED}
        try:
            async with self._session.request(
                request.method, f"{self._predictor}{request.raw_path}", data=body, headers=headers
            ) as answer:
                content = await answer.read()
                status, kind = answer.status, answer.content_type
                kept = {name: answer.headers[name] for name in (HEADER,) if name in answer.headers}
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or error.os_error
            where = f"{error.host}:{error.port}"
            return _json({"error": f"the predictor cannot be reached at {where}: {why}"}, 503)
        except aiohttp.ClientError as error:
            return _json({"error": f"the predictor cannot be reached: {error}"}, 503)
        if request.path.endswith(_PREDICTIONS):
            self._record(request, status, body, content)
        return web.Response(body=content, status=status, content_type=kind, headers=kept)

    def _record(self, request: web.Request, status: int, body: bytes, content: bytes) -> None:
        if status == 200:
            self._window.add(body, content)
            self.sampler.saw(body, content, request.headers)
        if self._log is not None:
            model = request.path.split("/")[3].partition(":")[0]
            given = request.headers.get("x-request-id", "")
            self._log.add(new_record(model, status, _read(body), _read(content), given))


def create_app(monitor: Monitor) -> web.Application:
    """The monitor's routes; all others are the predictor's."""
    app = web.Application(client_max_size=_MAX_BODY)
    app.cleanup_ctx.append(contextlib.asynccontextmanager(monitor.lifespan))
    app.add_routes(
        [
            web.get("/monitor/drift", monitor.drift),
            web.get("/v1/models/{model}/drift", monitor.drift),
            web.post("/monitor/samples", monitor.samples),
            web.get("/monitor/profile", monitor.profile),
            web.post("/v1/models/{model}:feedback", monitor.feedback),
            web.post("/v2/models/{model}/feedback", monitor.feedback),
            web.get("/metrics", monitor.metrics),
            web.get("/v2/health/live", monitor.live),
            web.route("*", "/{tail:.*}", monitor.forward),
        ]
    )
    return app


def _metrics(report: dict[str, Any]) -> str:
    lines = [
        "# TYPE kubeling_monitor_requests_total counter",
        f"kubeling_monitor_requests_total {report['requests']}",
        "# TYPE kubeling_drift_detected gauge",
        f"kubeling_drift_detected {int(report.get('drift', False))}",
        "# TYPE kubeling_drift_psi gauge",
    ]
    for title, found in (report.get("features") or {}).items():
        if "psi" in found:
            lines.append(f'kubeling_drift_psi{{feature="{title}"}} {found["psi"]}')
    return "\n".join(lines) + "\n"


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
