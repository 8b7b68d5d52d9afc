"""The log at the place that a service names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from kubeling.serving.requestlog.delivery import Delivery, Sink
from kubeling.serving.requestlog.events import Origin
from kubeling.serving.requestlog.folder import FolderLog
from kubeling.serving.requestlog.record import PREFIX, Counts, LogSettings, Record, RequestLog

__all__ = ["BUCKETS", "METADATA", "folder_of", "open_log"]

METADATA: Final = "metadata://"
BUCKETS: Final = ("s3://", "gs://", "minio://")
_PLATFORM: Final = "http://kubeling.kubeflow"


def folder_of(settings: LogSettings) -> Path | None:
    """The folder of JSON lines, if that is where the log is."""
    if settings.url and "://" not in settings.url and not settings.format:
        return Path(settings.url)
    return None


@contextlib.asynccontextmanager
async def open_log(settings: LogSettings, counts: Counts) -> AsyncIterator[RequestLog | None]:
    """The log; none if there is no ``url``."""
    if not settings.url:
        yield None
        return
    if (folder := folder_of(settings)) is not None:
        kept = FolderLog(folder, settings.mode, counts)
        try:
            yield kept
        finally:
            kept.close()
        return
    if settings.url.startswith(METADATA):
        settings = msgspec.structs.replace(settings, failures=True)
    async with contextlib.AsyncExitStack() as stack:
        deliveries = []
        for each in _settings_of_deliveries(settings):
            delivery = Delivery(_sink(each, counts), each, counts)
            deliveries.append(await stack.enter_async_context(delivery.running()))
        yield deliveries[0] if len(deliveries) == 1 else _Apart(deliveries)


class _Apart:
    """Requests and answers that are delivered apart."""

    def __init__(self, logs: Sequence[RequestLog]) -> None:
        self._logs = logs

    def add(self, record: Record) -> None:
        """Each takes its part of the record."""
        for one in self._logs:
            one.add(record)


def _settings_of_deliveries(settings: LogSettings) -> Iterator[LogSettings]:
    """A file holds requests or answers, as its name says; so each have batches of their own."""
    if not settings.format or settings.mode != "all":
        yield settings
        return
    for mode in ("request", "response"):
        yield msgspec.structs.replace(settings, mode=mode)


def _sink(settings: LogSettings, counts: Counts) -> Sink:
    origin = Origin.of_this_pod()
    if settings.url.startswith(("http://", "https://")):
        from kubeling.serving.requestlog.http_sink import HttpSink

        return HttpSink(settings, origin, counts)
    if settings.url.startswith(METADATA):
        from kubeling.serving.requestlog.platform_sink import PlatformSink

        base = os.environ.get("KUBELING_GATEWAY", _PLATFORM)
        return PlatformSink(base, origin, counts)
    from kubeling.serving.requestlog.files import FileSink, bucket_writer, folder_writer

    if settings.url.startswith(BUCKETS):
        writer = bucket_writer(settings.url, _own(os.environ))
    else:
        writer = folder_writer(Path(settings.url))
    return FileSink(settings, origin, counts, writer)


def _own(env: Mapping[str, str]) -> dict[str, str]:
    """The log's way to its store, which may be another than the model's."""
    return {key.removeprefix(PREFIX): v for key, v in env.items() if key.startswith(PREFIX)}
