"""What stands in parameters of recurring runs for the moment, the count and the run. Pure.

Upstream: ``backend/src/common/util/parameter_formatter.go``. Times are in UTC. The run's id is not
known before the run is created, so that one is filled in when the run begins.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.pipelines.go_time import format_time

__all__ = ["expand_macros", "expand_run_id"]

_RUN_ID: Final = "[[RunUUID]]"
_DEFAULT_LAYOUT: Final = "20060102150405"
_MACRO: Final = re.compile(
    r"\[\[(?P<kind>ScheduledTime|CurrentTime|Index)(?:\.(?P<layout>[^\]]*))?\]\]"
    r"|\{\{\$\.(?P<field>scheduledTime|currentTime)\.strftime\('(?P<strftime>[^']*)'\)\}\}"
)


def expand_macros(value: Any, scheduled: dt.datetime, now: dt.datetime, index: int) -> Any:
    """Parameter values with ``[[ScheduledTime]]`` and its relatives replaced."""

    def replace(match: re.Match[str]) -> str:
        if (field := match["field"]) is not None:
            return _strftime(scheduled if field == "scheduledTime" else now, match["strftime"])
        if match["kind"] == "Index":
            return match[0] if match["layout"] is not None else str(index)
        moment = scheduled if match["kind"] == "ScheduledTime" else now
        return format_time(moment.astimezone(dt.UTC), match["layout"] or _DEFAULT_LAYOUT)

    return _texts(value, lambda text: _MACRO.sub(replace, text))


def expand_run_id(value: Any, run_id: str) -> Any:
    """Parameter values with ``[[RunUUID]]`` replaced."""
    return _texts(value, lambda text: text.replace(_RUN_ID, run_id))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item, change) for item in value]
    return value


def _strftime(moment: dt.datetime, layout: str) -> str:
    moment = moment.astimezone(dt.UTC)
    return moment.strftime(layout.replace("%s", str(int(moment.timestamp()))))
