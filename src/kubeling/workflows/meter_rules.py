"""What is wrong with ``metrics.prometheus``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.expressions import ExpressionError, conditions, tags

__all__ = ["metric_errors"]

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_KINDS: Final = ("gauge", "histogram", "counter")


def metric_errors(metrics: Obj, path: str) -> Iterator[FieldError]:
    """Every metric has a name, a help text and exactly one kind with a value."""
    for number, metric in enumerate(metrics.get("prometheus") or ()):
        at = f"{path}.prometheus[{number}]"
        name = str(metric.get("name") or "")
        if not tags.has_tags(name) and not _NAME.fullmatch(name):
            message = "metric names must contain alphanumeric characters or '_'"
            yield FieldError(f"{at}.name", "Invalid value", message, name)
        if not metric.get("help"):
            message = f"metric '{name}' must contain a help string under 'help: ' field"
            yield FieldError(f"{at}.help", "Required value", message)
        for place, label in enumerate(metric.get("labels") or ()):
            if not _NAME.fullmatch(str(label.get("key") or "")):
                message = "keys may only contain alphanumeric characters or '_'"
                where = f"{at}.labels[{place}].key"
                yield FieldError(where, "Invalid value", message, label.get("key"))
        yield from _kind_errors(metric, at)
        if when := metric.get("when"):
            try:
                conditions.check(re.sub(r"\{\{.*?\}\}", "x", when))
            except ExpressionError as error:
                yield FieldError(f"{at}.when", "Invalid value", str(error), when)


def _kind_errors(metric: Obj, path: str) -> Iterator[FieldError]:
    given = [kind for kind in _KINDS if metric.get(kind)]
    if len(given) != 1:
        message = "give exactly one of gauge, histogram and counter"
        yield FieldError(path, "Invalid value", message)
    for kind in given:
        value = metric[kind].get("value")
        if value in (None, ""):
            yield FieldError(f"{path}.{kind}.value", "Required value", f"missing {kind}.value")
        elif kind == "gauge" and metric[kind].get("realtime"):
            if not re.fullmatch(r"\{\{\s*(workflow\.)?duration\s*\}\}", str(value)):
                message = "real time metrics are {{duration}} and {{workflow.duration}}"
                yield FieldError(f"{path}.gauge.value", "Invalid value", message, value)
            if metric[kind].get("operation") not in (None, "", "Set"):
                message = "real time metrics can only be set"
                yield FieldError(f"{path}.gauge.operation", "Invalid value", message)
