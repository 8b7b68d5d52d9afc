"""The rules of a metrics collector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["collector_errors"]

_PATH: Final = "spec.metricsCollectorSpec"
_KINDS: Final = ("File", "StdOut")


def collector_errors(collector_spec: Obj) -> Iterator[FieldError]:
    """What is wrong with ``spec.metricsCollectorSpec``."""
    kind = (collector_spec.get("collector") or {}).get("kind")
    source = collector_spec.get("source") or {}
    if kind not in _KINDS:
        message = 'supported values: "File", "StdOut"'
        yield FieldError(f"{_PATH}.collector.kind", "Unsupported value", message, kind)
        return
    if kind == "File":
        yield from _file(source.get("fileSystemPath") or {}, source)
    yield from _filter(source)


def _file(where: Obj, source: Obj) -> Iterator[FieldError]:
    path = f"{_PATH}.source.fileSystemPath"
    if not str(where.get("path") or "").startswith("/"):
        yield FieldError(f"{path}.path", "Invalid value", "must be absolute", where.get("path"))
    if where.get("kind") != "File":
        yield FieldError(f"{path}.kind", "Invalid value", "must be File", where.get("kind"))
    if where.get("format") not in ("TEXT", "JSON"):
        message = 'supported values: "JSON", "TEXT"'
        yield FieldError(f"{path}.format", "Unsupported value", message, where.get("format"))
    if where.get("format") == "JSON" and source.get("filter"):
        message = "JSON has no use for a filter; remove it"
        yield FieldError(f"{_PATH}.source.filter", "Forbidden", message)


def _filter(source: Obj) -> Iterator[FieldError]:
    formats: Any = (source.get("filter") or {}).get("metricsFormat") or ()
    for index, pattern in enumerate(formats):
        path = f"{_PATH}.source.filter.metricsFormat[{index}]"
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            yield FieldError(
                path, "Invalid value", f"is not a regular expression: {error}", pattern
            )
            continue
        if groups < 2:
            message = "needs two groups: the metric's name and its value"
            yield FieldError(path, "Invalid value", message, pattern)
