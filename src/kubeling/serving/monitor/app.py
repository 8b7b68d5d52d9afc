"""The agent in front of a predictor, with a report of its own on what passed by."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from kubeling.serving.agent import app as agents
from kubeling.serving.agent.app import Agent, Duties, to_json
from kubeling.serving.monitor.window import MonitorWindow
from kubeling.serving.requestlog.record import Counts, RequestLog
from kubeling.serving.server.sampling import Sampler

__all__ = ["Monitor", "create_app"]


class Monitor(Agent):
    """Answers for the predictor at ``predictor`` (a base URL)."""

    whom = "the predictor"

    def __init__(
        self,
        predictor: str,
        window: MonitorWindow,
        request_log: RequestLog | None,
        counts: Counts | None = None,
    ) -> None:
        duties = Duties(request_log, counts or Counts(), sampler=Sampler())
        duties.seen.append(lambda body, answer, _: window.add(body, answer))
        super().__init__(predictor, duties)
        self._window = window

    async def drift(self, _: web.Request) -> web.Response:
        """The report over the window."""
        return to_json(await self._report())

    async def _report(self) -> dict[str, Any]:
        # A window of many features takes a while, in which requests are not to wait.
        return await asyncio.to_thread(self._window.report)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """The report as Prometheus gauges."""
        text = _metrics(await self._report(), self.duties.counts)
        return web.Response(text=text, content_type="text/plain")

    async def profile(self, request: web.Request) -> web.StreamResponse:
        """The reference it was given; else what the predictor's agent or server has."""
        found = self._window.reference
        return await self.forward(request) if found is None else to_json(found)

    async def live(self, _: web.Request) -> web.Response:
        """It is up, whatever becomes of the predictor."""
        return to_json({"live": True})


def create_app(monitor: Monitor) -> web.Application:
    """The agent's routes and the monitor's."""
    return agents.create_app(
        monitor,
        [
            web.get("/monitor/drift", monitor.drift),
            web.get("/v1/models/{model}/drift", monitor.drift),
            web.get("/v2/health/live", monitor.live),
        ],
    )


def _metrics(report: dict[str, Any], counts: Counts) -> str:
    lines = [
        "# TYPE kubeling_monitor_requests_total counter",
        f"kubeling_monitor_requests_total {report['requests']}",
        "# TYPE kubeling_drift_detected gauge",
        f"kubeling_drift_detected {int(report.get('drift', False))}",
        "# TYPE kubeling_drift_psi gauge",
    ]
    for title, found in (report.get("features") or {}).items():
        if "psi" in found:
            name = msgspec.json.encode(title).decode()
            lines.append(f"kubeling_drift_psi{{feature={name}}} {found['psi']}")
    return "\n".join([*lines, *counts.text()]) + "\n"
