"""Records requests and answers, bounded in memory and on disk.

A slow or dead place for the log must never slow or kill the server: what does not fit is dropped
and counted. A folder takes one JSON line per request, in a file per pod that is rotated once; an
address takes CloudEvents, one for the request and one for the response, as KServe sends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CloudEventLog", "FileLog", "Record", "RequestLog", "open_log", "read_folder"]

log = logging.getLogger(__name__)

Mode = Literal["all", "request", "response"]

_MAX_BYTES: Final = 16 * 1024 * 1024
_NO_JSON: Final = (TypeError, ValueError, OverflowError)
"""What a model answers may be anything."""
_FLUSH_SECONDS: Final = 0.2
_QUEUE: Final = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """One request and its answer."""

    id: str
    model: str
    revision: str
    time: str
    status: int
    request: Any
    response: Any


def new_record(model: str, status: int, request: Any, response: Any, id: str = "") -> Record:
    """A record of now."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    revision = os.environ.get("SERVING_REVISION", "")
    return Record(id or str(uuid.uuid4()), model, revision, now, status, request, response)


class RequestLog(Protocol):
    """Takes records. ``add`` never blocks and never raises."""

    def add(self, record: Record) -> None:
        """Records, or drops and counts."""
        ...


class FileLog:
    """JSON lines in a folder; at most two files of ``max_bytes`` for each pod."""

    def __init__(
        self, folder: Path, mode: Mode, dropped: Callable[[], None], max_bytes: int = _MAX_BYTES
    ) -> None:
        self._path = folder / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        self._mode = mode
        self._dropped = dropped
        self._max = max_bytes
        self._file: IO[bytes] | None = None
        self._size = 0
        self._flush: asyncio.TimerHandle | None = None

    def add(self, record: Record) -> None:
        try:
            line = msgspec.json.encode(_shown(record, self._mode)) + b"\n"
            self._open(len(line)).write(line)
        except (OSError, *_NO_JSON) as error:
            log.warning("request not recorded: %s", error)
            self._dropped()
            return
        self._size += len(line)
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes out what is buffered."""
        self._flush = None
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                log.warning("requests not recorded: %s", error)
                self._dropped()

    def close(self) -> None:
        """Writes out what is buffered and closes the file."""
        if self._flush is not None:
            self._flush.cancel()
        self.flush()
        if self._file is not None:
            self._file.close()

    def _open(self, coming: int) -> IO[bytes]:
        if self._file is not None and self._size + coming > self._max:
            self._file.close()
            self._path.replace(self._path.with_suffix(".1.jsonl"))
            self._file = None
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
            self._size = self._file.tell()
        return self._file


class CloudEventLog:
    """Posts each record as CloudEvents to an address, from a queue of bounded length."""

    def __init__(self, url: str, mode: Mode, dropped: Callable[[], None]) -> None:
        self._url = url
        self._mode = mode
        self._dropped = dropped
        self._queue: asyncio.Queue[Record] = asyncio.Queue(_QUEUE)

    def add(self, record: Record) -> None:
        try:
            self._queue.put_nowait(record)
        except asyncio.QueueFull:
            self._dropped()

    async def run(self) -> None:
        """Sends what is queued until cancelled."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._send(session, await self._queue.get())

    async def _send(self, session: aiohttp.ClientSession, record: Record) -> None:
        import aiohttp

        for kind, body in (("request", record.request), ("response", record.response)):
            if self._mode not in ("all", kind):
                continue
            try:
                async with session.post(
                    self._url, data=msgspec.json.encode(body), headers=_event(record, kind)
                ) as answer:
                    if answer.status >= 300:
                        self._dropped()
            except (aiohttp.ClientError, TimeoutError, *_NO_JSON) as error:
                self._dropped()
                log.warning("request not recorded at %s: %s", self._url, error)
                self._dropped()


@contextlib.asynccontextmanager
async def open_log(
    where: str, mode: Mode, dropped: Callable[[], None]
) -> AsyncIterator[RequestLog | None]:
    """The log at a folder or an address; none if ``where`` is empty."""
    if not where:
        yield None
    elif where.startswith(("http://", "https://")):
        sink = CloudEventLog(where, mode, dropped)
        sending = asyncio.create_task(sink.run(), name="request log")
        try:
            yield sink
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
    else:
        file_log = FileLog(Path(where), mode, dropped)
        try:
            yield file_log
        finally:
            file_log.close()


def read_folder(folder: Path) -> Iterator[bytes]:
    """The lines recorded in a folder, oldest file first."""
    for path in sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime):
        with path.open("rb") as file:
            yield from file


def _shown(record: Record, mode: Mode) -> dict[str, Any]:
    shown = {
        "id": record.id,
        "time": record.time,
        "model": record.model,
        "revision": record.revision,
        "status": record.status,
    }
    if mode in ("all", "request"):
        shown["request"] = record.request
    if mode in ("all", "response"):
        shown["response"] = record.response
    return shown


def _event(record: Record, kind: str) -> Mapping[str, str]:
    return {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": record.id,
        "ce-type": f"org.kubeflow.serving.inference.{kind}",
        "ce-source": f"http://{socket.gethostname()}/",
        "ce-time": record.time,
        "ce-inferenceservicename": os.environ.get("INFERENCE_SERVICE_NAME", record.model),
        "ce-namespace": os.environ.get("POD_NAMESPACE", ""),
        "ce-component": os.environ.get("SERVING_COMPONENT", "predictor"),
        "ce-endpoint": record.revision,
    }
