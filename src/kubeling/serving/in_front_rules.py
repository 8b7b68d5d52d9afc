"""What is refused in a component's ``logger`` and ``batcher``, and where it is monitored.

Source: upstream's validateLogger, which asks for a mode and for all of a storage's fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.serving.in_front import has_http
from kubeling.serving.requestlog.formats import FORMATS
from kubeling.serving.watching.settings import has_monitor, is_monitored

__all__ = ["validate_in_front", "validate_watched"]

_LOG_MODES: Final = ("all", "request", "response")
_BUCKETS: Final = ("s3://", "gs://", "minio://")
_FOLDERS: Final = ("file://", "pvc://")


def validate_in_front(path: str, component: Obj) -> Iterator[FieldError]:
    """Names what is wrong with them."""
    logger, batcher = component.get("logger"), component.get("batcher")
    if isinstance(logger, dict):
        yield from _validate_logger(f"{path}.logger", logger)
    if isinstance(batcher, dict):
        yield from _validate_batcher(f"{path}.batcher", batcher)
    if isinstance(logger, dict) or isinstance(batcher, dict):
        yield from _validate_protocol(path, component, "logger and batcher read")


def validate_watched(path: str, predictor: Obj, isvc: Obj) -> Iterator[FieldError]:
    """Names what keeps a predictor from being monitored, if its service asks for that."""
    if is_monitored(isvc) and not has_monitor(isvc):
        yield from _validate_protocol(path, predictor, "monitoring and the judging of drift read")


def _validate_protocol(path: str, component: Obj, who: str) -> Iterator[FieldError]:
    for container in mappings(component.get("containers"))[:1]:
        if not has_http(container):
            yield FieldError(
                f"{path}.containers[0].ports[0].name",
                "Unsupported value",
                f"{who} HTTP/1 requests, not gRPC",
                container["ports"][0].get("name"),
            )


def _validate_logger(path: str, logger: Obj) -> Iterator[FieldError]:
    mode = logger.get("mode")
    if mode is not None and mode not in _LOG_MODES:
        yield FieldError(
            f"{path}.mode", "Unsupported value", f"supported: {', '.join(_LOG_MODES)}", mode
        )
    url = str(logger.get("url") or "")
    if url and not re.match(r"^(https?|file|pvc|s3|gs|minio|metadata)://", url):
        yield FieldError(
            f"{path}.url",
            "Unsupported value",
            "supported: http://, https:// (CloudEvents), file:// and pvc:// (a folder), s3:// and "
            "gs:// (files of batches), metadata:// (the platform's database)",
            url,
        )
    yield from _validate_storage(path, logger, url)
    yield from _validate_batches(path, logger)
    if logger.get("marshallerUrl"):
        yield FieldError(
            f"{path}.marshallerUrl",
            "Forbidden",
            "files are written by the server itself; choose storage.parameters.format among "
            f"{', '.join(FORMATS)}",
        )


def _validate_storage(path: str, logger: Obj, url: str) -> Iterator[FieldError]:
    if logger.get("storage") is None:
        return
    storage = mapping(logger["storage"])
    if not url.startswith((*_BUCKETS, *_FOLDERS)):
        yield FieldError(
            f"{path}.storage", "Forbidden", "is for files; url must be a bucket or a folder"
        )
    if url.startswith(_BUCKETS):
        for field in ("path", "parameters", "key"):
            if storage.get(field) is None:
                message = "upstream asks for path, parameters and key together"
                yield FieldError(f"{path}.storage.{field}", "Required value", message)
    kind = mapping(storage.get("parameters")).get("format")
    if kind is not None and kind not in FORMATS:
        yield FieldError(
            f"{path}.storage.parameters.format",
            "Unsupported value",
            f"supported: {', '.join(FORMATS)}",
            kind,
        )


def _validate_batches(path: str, logger: Obj) -> Iterator[FieldError]:
    interval = logger.get("batchInterval")
    if interval is None:
        return
    try:
        parse_duration(str(interval))
    except ValueError:
        yield FieldError(f"{path}.batchInterval", "Invalid value", "e.g. 5s or 100ms", interval)


def _validate_batcher(path: str, batcher: Obj) -> Iterator[FieldError]:
    for field in ("maxBatchSize", "maxLatency", "timeout"):
        value = batcher.get(field)
        if isinstance(value, int) and value < 0:
            yield FieldError(f"{path}.{field}", "Invalid value", "may not be negative", value)
