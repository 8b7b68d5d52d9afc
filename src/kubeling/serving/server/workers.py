"""Several processes that answer at one port (``--workers``), and look like one.

The kernel spreads connections over them. The first starts the others, starts those again that end,
and takes them with it. Each can be asked alone through a socket of a folder they share, so that
whoever is asked for metrics answers with the sum, and a model that is loaded or unloaded is so
everywhere. Upstream's workers answer a scrape each for itself (kserve#2979).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from kubeling.serving.server import http
from kubeling.serving.server.errors import ModelNotReady
from kubeling.serving.server.http import Handler, Request, Response
from kubeling.serving.server.repository import ModelRepository
from kubeling.serving.server.worker_metrics import Ledger, is_scrape, merged

__all__ = [
    "Crew",
    "caught_up",
    "elsewhere",
    "end_with_the_first",
    "standing_by",
    "together",
    "until_free",
]

log = logging.getLogger(__name__)

_PATIENCE: Final = 5.0
_PAUSE: Final = 0.1
_LOADING: Final = 300.0
_AGAIN: Final = 1.0
_LONGEST: Final = 30.0
_GRACE: Final = 35.0
_PIECE: Final = 4096
_COUNT: Final = (
    "# HELP kubeling_workers Processes that answer at this port\n"
    "# TYPE kubeling_workers gauge\nkubeling_workers 1\n"
)


@dataclass(frozen=True, slots=True)
class Crew:
    """The processes of a server: where their sockets are, how many there are, and which is this."""

    folder: Path
    size: int
    index: int = 0
    command: Sequence[str] = ()
    """Starts another one, with its number at the end."""

    def socket(self, index: int) -> Path:
        """Where one of them is asked alone."""
        return self.folder / f"{index}.sock"

    def counts(self, index: int) -> Path:
        """Where one of them writes down what it counted."""
        return self.folder / f"{index}.metrics"

    @property
    def model(self) -> Path:
        """Where the first puts a model that it fetches."""
        return self.folder / "model"

    @property
    def others(self) -> list[int]:
        return [index for index in range(self.size) if index != self.index]


def together(handler: Handler, crew: Crew) -> Handler:
    """Answers for all of them what one alone does not know."""

    async def answer(request: Request) -> Response | http.StreamedResponse:
        found = await handler(request)
        if not isinstance(found, Response) or found.status != 200:
            return found
        if is_scrape(request):
            texts = await asyncio.gather(*(_own_metrics(crew, index) for index in crew.others))
            found.body = merged([_counted(found.body), *texts])
        elif request.path.startswith("/v2/repository/models/") and request.method == "POST":
            for index in crew.others:
                if (other := await _repeated(crew, index, request.path)).status != 200:
                    return other
        return found

    return answer


def elsewhere(crew: Crew) -> Callable[[str, str], Awaitable[None]]:
    """Has the others load or unload a model as well, for requests that came by gRPC."""

    async def repeat(name: str, action: str) -> None:
        for index in crew.others:
            answer = await _repeated(crew, index, f"/v2/repository/models/{name}/{action}")
            if answer.status != 200:
                raise ModelNotReady(f"worker {index}: {answer.body.decode(errors='replace')}")

    return repeat


async def caught_up(crew: Crew, repository: ModelRepository) -> None:
    """Loads and unloads what was so at the first while this one was not there."""
    if crew.index == 0:
        return
    async with asyncio.timeout(_PATIENCE):
        entries = msgspec.json.decode((await _ask(crew, 0, "POST", "/v2/repository/index")).body)
    own = set(repository.get_models())
    for name in {entry["name"] for entry in entries if entry["state"] == "READY"} - own:
        try:
            await repository.load(name)
        except ModelNotReady as error:
            log.warning("worker %d lacks a model that the first has: %s", crew.index, error)
    for name in own - {entry["name"] for entry in entries}:
        await repository.unload(name)


@contextlib.asynccontextmanager
async def standing_by(handler: Handler, crew: Crew, port: int) -> AsyncIterator[None]:
    """Lets the others ask this one; the first keeps the others running until the block is left."""
    started: dict[int, asyncio.subprocess.Process] = {}
    async with http.listening(handler, path=crew.socket(crew.index)):
        wanted = crew.others if crew.index == 0 else []
        keeping = [asyncio.create_task(_keep(crew, index, port, started)) for index in wanted]
        try:
            yield
        finally:
            await _end(started, keeping)


async def until_free(host: str, port: int) -> None:
    """Raises :class:`OSError` if another server is at the port and stays.

    Both would listen there, and the kernel hand each a part of what is asked. Workers whose first
    was killed are gone in a moment.
    """
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            return _bind_alone(host, port)
        except OSError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise OSError(error.errno, f"port {port}: {error.strerror}") from error
        await asyncio.sleep(_PAUSE)


def _bind_alone(host: str, port: int) -> None:
    kind, passive = socket.SOCK_STREAM, socket.AI_PASSIVE
    for family, _, _, _, place in socket.getaddrinfo(host or None, port, type=kind, flags=passive):
        with socket.socket(family, kind) as taken:
            # Without SO_REUSEPORT; connections that have ended do not count.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(place)


def end_with_the_first() -> None:
    """Ends this process when the one that started it, at the other end of its input, is gone."""

    def wait() -> None:
        # Not by its buffer, whose lock an interpreter that ends meanwhile fails to get.
        while os.read(sys.stdin.fileno(), _PIECE):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="the first worker", daemon=True).start()


async def _keep(
    crew: Crew, index: int, port: int, started: dict[int, asyncio.subprocess.Process]
) -> None:
    """Starts a worker, and again when it ends, the later the more often that happens."""
    pause = _AGAIN
    while True:
        command = [*crew.command, f"--http_port={port}", f"--worker={index}:{crew.folder}"]
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE)
        except OSError as error:
            log.error("worker %d cannot be started (%s); again in %g s", index, error, pause)
        else:
            started[index] = process
            code = await process.wait()
            log.error("worker %d ended with %d; it is started again in %g s", index, code, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST)


async def _end(
    started: dict[int, asyncio.subprocess.Process], keeping: Sequence[asyncio.Task[None]]
) -> None:
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)
    running = [process for process in started.values() if process.returncode is None]
    for process in running:
        process.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            await asyncio.gather(*(process.wait() for process in running))
    for process in running:
        if process.returncode is None:
            process.kill()


async def _own_metrics(crew: Crew, index: int) -> bytes:
    """Of one that is being started, what the one before it counted."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return _counted((await _ask(crew, index, "GET", "/metrics")).body)
    except (OSError, TimeoutError):
        return Ledger(crew.counts(index)).lasting()


async def _repeated(crew: Crew, index: int, path: str) -> Response:
    try:
        async with asyncio.timeout(_LOADING):
            return await _ask(crew, index, "POST", path)
    except (OSError, TimeoutError) as error:
        raise ModelNotReady(f"worker {index} did not do it: {error!r}") from error


async def _ask(crew: Crew, index: int, method: str, path: str) -> Response:
    reader, writer = await asyncio.open_unix_connection(crew.socket(index))
    try:
        writer.write(f"{method} {quote(path)} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if not head:
        raise ConnectionResetError("it ended")
    return Response(body, int(head.split(None, 2)[1]))


def _counted(text: bytes) -> bytes:
    return text + _COUNT.encode()
