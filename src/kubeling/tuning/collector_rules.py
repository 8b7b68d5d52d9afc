"""The rules of a metrics collector, upstream's (``validateMetricsCollector``) and our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["collector_errors"]

_PATH: Final = "spec.metricsCollectorSpec"
_FILES: Final = f"{_PATH}.source.fileSystemPath"
_KINDS: Final = ("Custom", "File", "PrometheusMetric", "Push", "StdOut", "TensorFlowEvent")
_LARGEST_PORT: Final = 65535


def collector_errors(spec: Obj) -> Iterator[FieldError]:
    """What is wrong with ``spec.metricsCollectorSpec``."""
    collector_spec = spec.get("metricsCollectorSpec") or {}
    collector = collector_spec.get("collector") or {}
    source, kind = collector_spec.get("source") or {}, collector.get("kind")
    if kind not in _KINDS:
        listed = ", ".join(f'"{known}"' for known in _KINDS)
        message = f"supported values: {listed}"
        yield FieldError(f"{_PATH}.collector.kind", "Unsupported value", message, kind)
        return
    where = source.get("fileSystemPath") or {}
    match kind:
        case "File":
            yield from _file(where, source)
        case "TensorFlowEvent":
            yield from _event_folder(where)
        case "PrometheusMetric":
            yield from _http_get(source.get("httpGet") or {})
        case "Custom":
            yield from _custom(collector.get("customCollector"), where)
    yield from _filter(source)


def _file(where: Obj, source: Obj) -> Iterator[FieldError]:
    yield from _absolute(where)
    if where.get("kind") != "File":
        yield FieldError(f"{_FILES}.kind", "Invalid value", "must be File", where.get("kind"))
    if where.get("format") not in ("TEXT", "JSON"):
        message = 'supported values: "JSON", "TEXT"'
        yield FieldError(f"{_FILES}.format", "Unsupported value", message, where.get("format"))
    if where.get("format") == "JSON" and source.get("filter"):
        message = "JSON has no use for a filter; remove it"
        yield FieldError(f"{_PATH}.source.filter", "Forbidden", message)


def _event_folder(where: Obj) -> Iterator[FieldError]:
    yield from _absolute(where)
    if where.get("kind") != "Directory":
        message = "must be Directory, in which event files lie"
        yield FieldError(f"{_FILES}.kind", "Invalid value", message, where.get("kind"))
    if where.get("format"):
        message = "must be empty: event files have one format"
        yield FieldError(f"{_FILES}.format", "Invalid value", message, where["format"])


def _http_get(http_get: Obj) -> Iterator[FieldError]:
    path = f"{_PATH}.source.httpGet"
    port = http_get.get("port")
    if not str(port).isdigit() or not 0 < int(str(port)) <= _LARGEST_PORT:
        message = f"must be a port number, 1 to {_LARGEST_PORT}"
        yield FieldError(f"{path}.port", "Invalid value", message, port)
    if not str(http_get.get("path") or "").startswith("/"):
        message = 'must begin with "/"'
        yield FieldError(f"{path}.path", "Invalid value", message, http_get.get("path"))


def _custom(container: Any, where: Obj) -> Iterator[FieldError]:
    path = f"{_PATH}.collector.customCollector"
    if not isinstance(container, dict):
        yield FieldError(path, "Required value", "give the container that collects the metrics")
    elif not container.get("image"):
        yield FieldError(f"{path}.image", "Required value", "name the image of the collector")
    if where:
        yield from _absolute(where)
        if where.get("kind") not in ("File", "Directory"):
            message = 'supported values: "Directory", "File"'
            yield FieldError(f"{_FILES}.kind", "Unsupported value", message, where.get("kind"))


def _absolute(where: Obj) -> Iterator[FieldError]:
    if not str(where.get("path") or "").startswith("/"):
        message = "must be absolute"
        yield FieldError(f"{_FILES}.path", "Invalid value", message, where.get("path"))


def _filter(source: Obj) -> Iterator[FieldError]:
    formats: Any = (source.get("filter") or {}).get("metricsFormat") or ()
    if not formats:
        return
    import re2

    for index, pattern in enumerate(formats):
        path = f"{_PATH}.source.filter.metricsFormat[{index}]"
        try:
            groups = re2.compile(pattern).groups
        except re2.error as error:
            said = error.args[0].decode() if isinstance(error.args[0], bytes) else error
            message = f"is not a regular expression: {said}"
            yield FieldError(path, "Invalid value", message, pattern)
            continue
        if groups < 2:
            message = "needs two groups: the metric's name and its value"
            yield FieldError(path, "Invalid value", message, pattern)
