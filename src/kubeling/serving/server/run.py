"""Runs a server for models: load, listen over REST and gRPC, stop on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kubeling.rpc.idle import serving_when_called
from kubeling.serving.requestlog.opening import folder_of, open_log
from kubeling.serving.requestlog.record import LogSettings
from kubeling.serving.server import http, tracing
from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.batch_flags import BatchLimits
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.heap import give_back
from kubeling.serving.server.metrics import Metrics
from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import FolderRepository, ModelRepository, load_model
from kubeling.serving.server.watchdog import patience, watched
from kubeling.serving.server.worker_metrics import Ledger
from kubeling.serving.server.workers import (
    Crew,
    caught_up,
    elsewhere,
    standing_by,
    together,
    until_free,
)

if TYPE_CHECKING:
    from kubeling.monitoring.tracing import Tracer
    from kubeling.serving.server.merging import Merger
    from kubeling.serving.server.sampling import Sampler

__all__ = ["ServerSettings", "run", "serve", "stopped"]

log = logging.getLogger(__name__)

_SETTLED: Final = 1.0

Prepare = Callable[[], Coroutine[Any, Any, ModelRepository]]
"""Loads the models of a server."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens and what it records."""

    host: str = "0.0.0.0"
    port: int = 8080
    grpc_port: int | None = None
    grpc_required: bool = False
    log: LogSettings = field(default_factory=LogSettings)
    keep_alive: float = 65.0
    grpc_max_receive: int | None = None
    grpc_max_send: int | None = None
    batches: BatchLimits | None = None
    monitored: Path | None = None
    """The folder of a model whose requests are sampled for the platform."""
    crew: Crew | None = None
    """The other processes at this port, if there are some."""
    docs: bool = False
    """Whether there is a page about the API at ``/docs``."""


def serve(models: Sequence[Model], settings: ServerSettings | None = None) -> None:
    """Loads the models and answers until SIGTERM or SIGINT; for a ``main`` of one's own."""
    found = settings or ServerSettings(port=int(os.environ.get("PORT", "8080")))
    run(lambda: _loaded(models), found)


async def _loaded(models: Sequence[Model]) -> ModelRepository:
    for model in models:
        await load_model(model)
        model.start()
    return ModelRepository(models)


def run(
    prepare: Prepare,
    settings: ServerSettings,
    around: Callable[[http.Handler], http.Handler] | None = None,
) -> None:
    """Serves what ``prepare`` loads; raises :class:`~.errors.ModelLoadError`.

    ``around`` may wrap what answers REST.
    """
    serving = _serve(prepare, settings, around or (lambda handler: handler))
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


async def folder(repository: FolderRepository) -> ModelRepository:
    """Loads the model of a folder."""
    await repository.load_all()
    return repository


async def _serve(
    prepare: Prepare,
    settings: ServerSettings,
    around: Callable[[http.Handler], http.Handler],
) -> None:
    metrics = Metrics()
    repository = await prepare()
    # What libraries and models brought stays: looking through it would hold up requests.
    gc.freeze()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(repository.close)
        request_log = await stack.enter_async_context(open_log(settings.log, metrics.log))
        sampler, merger = _sampler(settings.monitored), _merger(settings.batches)
        plane = DataPlane(repository, metrics, request_log, sampler, merger)
        app = ModelApp(plane, folder_of(settings.log), docs=settings.docs)
        handler, keep_alive = around(app), settings.keep_alive
        immediately: http.Immediately | None = app.immediately if handler is app else None
        tracer = await stack.enter_async_context(tracing.opened())
        if tracer is not None:
            plane.traced = True
            handler = tracing.traced(handler, tracer)
            if immediately is not None:
                immediately = tracing.traced_immediately(immediately, tracer)
        crew = settings.crew
        if crew is not None:
            ledger = Ledger(crew.counts(crew.index))
            handler = together(ledger.around(handler), crew)
            if crew.index == 0:
                await until_free(settings.host, settings.port)
            await caught_up(crew, repository)
        port = await stack.enter_async_context(
            http.listening(
                handler,
                settings.host,
                settings.port,
                keep_alive=keep_alive,
                reuse_port=crew is not None,
                immediately=immediately,
            )
        )
        stack.enter_context(watched(patience()))
        log.info("serving %s on port %d", ", ".join(repository.get_models()), port)
        if crew is not None:
            await stack.enter_async_context(standing_by(ledger.around(app), crew, port))
        if settings.grpc_port is not None:
            await _listen_to_grpc(stack, plane, settings, tracer)
        # Not at once: who woke this server waits for the first answer.
        asyncio.get_running_loop().call_later(_SETTLED, threading.Thread(target=give_back).start)
        await stopped()


def _merger(limits: BatchLimits | None) -> Merger | None:
    if limits is None:
        return None
    from kubeling.serving.server.merging import Merger

    return Merger(limits)


def _sampler(folder: Path | None) -> Sampler | None:
    if folder is None:
        return None
    from kubeling.serving.drift.profile import PROFILE_FILE
    from kubeling.serving.server.sampling import Sampler

    return Sampler(folder / PROFILE_FILE)


async def _listen_to_grpc(
    stack: contextlib.AsyncExitStack,
    plane: DataPlane,
    settings: ServerSettings,
    tracer: Tracer | None,
) -> None:
    """Listens for gRPC; where pods share a network, its usual port may be another server's."""
    assert settings.grpc_port is not None

    def serve(taken: socket.socket) -> contextlib.AbstractAsyncContextManager[int]:
        from kubeling.rpc.calls import Limits
        from kubeling.serving.server.grpc.service import answering

        limits = Limits(_bytes(settings.grpc_max_receive), _bytes(settings.grpc_max_send))
        repeat = elsewhere(settings.crew) if settings.crew is not None else None
        return answering(plane, listening=taken, limits=limits, elsewhere=repeat, tracer=tracer)

    try:
        waiting = serving_when_called(serve, settings.host, settings.grpc_port)
        port = await stack.enter_async_context(waiting)
    except OSError as error:
        if settings.grpc_required:
            raise
        log.warning("no gRPC, as port %d cannot be had: %s", settings.grpc_port, error)
    else:
        log.info("gRPC on port %d", port)


def _bytes(given: int | None) -> int | None:
    """A limit as grpcio takes it: negative for none."""
    return None if given is None or given < 0 else given


async def stopped() -> None:
    """Returns at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
