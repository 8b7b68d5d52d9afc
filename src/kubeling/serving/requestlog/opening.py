"""The log at the place that a service names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from kubeling.serving.requestlog.delivery import Delivery, Sink
from kubeling.serving.requestlog.events import Origin
from kubeling.serving.requestlog.folder import FolderLog
from kubeling.serving.requestlog.record import PREFIX, Counts, LogSettings, RequestLog

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
    async with Delivery(_sink(settings, counts), settings, counts).running() as delivery:
        yield delivery


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
