"""Runs a server for models: load, listen, stop on a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aiohttp import web

from kubeling.serving.server.app import ModelApp, create_app
from kubeling.serving.server.metrics import Metrics
from kubeling.serving.server.model import Model
from kubeling.serving.server.requestlog import Mode, open_log

__all__ = ["ServerSettings", "listen", "run", "serve"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens and what it records."""

    host: str = "0.0.0.0"
    port: int = 8080
    request_log: str = ""
    log_mode: str = "all"


def serve(models: Sequence[Model], settings: ServerSettings | None = None) -> None:
    """Loads the models and answers until SIGTERM or SIGINT; for a ``main`` of one's own."""
    run(models, settings or ServerSettings(port=int(os.environ.get("PORT", "8080"))))


def run(models: Sequence[Model], settings: ServerSettings) -> None:
    """Like :func:`serve`, with all settings."""
    for model in models:
        model.load()
        model.ready = True
    try:
        import uvloop
    except ImportError:
        asyncio.run(_listen(models, settings))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_listen(models, settings))


async def _listen(models: Sequence[Model], settings: ServerSettings) -> None:
    metrics = Metrics()

    def dropped() -> None:
        metrics.log_dropped += 1

    mode = cast(Mode, settings.log_mode)
    async with open_log(settings.request_log, mode, dropped) as request_log:
        folder = None if "://" in settings.request_log else settings.request_log
        app = ModelApp(models, metrics, request_log, Path(folder) if folder else None)
        names = ", ".join(model.name for model in models)
        log.info("serving %s on port %d", names, settings.port)
        await listen(create_app(app), settings.host, settings.port)


async def listen(app: web.Application, host: str, port: int) -> None:
    """Answers until SIGTERM or SIGINT, then finishes what was asked."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await _stopped()
    finally:
        await runner.cleanup()


async def _stopped() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
