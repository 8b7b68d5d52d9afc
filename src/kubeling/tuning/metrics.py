"""Reading metrics out of what a trial prints, and summing them up.

TEXT lines hold ``name=value`` pairs, or whatever the user's filters match; JSON lines are objects.
Unlike upstream's collector, numbers in JSON count as well as strings, and a line that is not JSON
is passed over. A filter that cannot mean numbers may find a text, as DARTS' genotype: it has no
smallest and no largest value.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj, parse_time

__all__ = [
    "UNAVAILABLE",
    "Reading",
    "Summary",
    "number",
    "parser",
    "strategy_value",
    "summarise",
    "text_value",
]

UNAVAILABLE: Final = "unavailable"
_NUMBER: Final = (
    r"[+-]?(?:\d+\.?\d*(?:[Ee][+-]?\d+)?|\.\d+(?:[Ee][+-]?\d+)?|(?:nan|inf(?:inity)?)\b)"
)
_LONGEST_VALUE: Final = 64
"""Characters of a value; a longer number is kept as the float it reads as."""
_LONGEST_TEXT: Final = 8192
"""Characters of a value that is no number."""
_BETWEEN: Final = ("=", ":", " = ", ": ", " ")


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one metric, as it was written."""

    name: str
    value: str
    time: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What becomes of a metric's readings."""

    min: str
    max: str
    latest: str


LineParser = Callable[[str], Iterable[Reading]]


def parser(collector: Obj, names: Sequence[str]) -> LineParser:
    """A function that reads the wanted metrics from a line.

    Filters are in the syntax of Go, as upstream's, and take time linear in the line.
    """
    source = collector.get("source") or {}
    wanted = frozenset(names)
    if _is_json(collector):
        return lambda line: _json(line, wanted)
    formats = (source.get("filter") or {}).get("metricsFormat") or ()
    if formats:
        import re2

        compiled = [re2.compile(text) for text in formats]
        patterns = [(pattern, not _takes_numbers(pattern, wanted)) for pattern in compiled]
    else:
        patterns = [(_pair(wanted), False)]

    def read(line: str) -> Iterable[Reading]:
        return _text(line, patterns, wanted) if any(name in line for name in wanted) else ()

    return read


def _is_json(collector: Obj) -> bool:
    """Whether lines are objects: our own reader of event files prints such."""
    if (collector.get("collector") or {}).get("kind") == "TensorFlowEvent":
        return True
    where = (collector.get("source") or {}).get("fileSystemPath") or {}
    return bool(where.get("format") == "JSON")


def _pair(wanted: Iterable[str]) -> re.Pattern[str]:
    """``name=value`` for the wanted names, each a whole word as upstream reads words."""
    names = "|".join(re.escape(name) for name in sorted(wanted))
    return re.compile(rf"(?<![\w|-])({names})\s*=\s*({_NUMBER})", re.IGNORECASE)


def _takes_numbers(pattern: Any, wanted: Iterable[str]) -> bool:
    """Whether a user's filter finds a number after a metric's name, as one usually is written."""
    return any(
        pattern.search(f"{name}{between}0.5") is not None for name in wanted for between in _BETWEEN
    )


def _text(line: str, patterns: Iterable[tuple[Any, bool]], wanted: frozenset[str]) -> list[Reading]:
    found: list[Reading] = []
    for pattern, is_text in patterns:
        for match in pattern.finditer(line):
            name, value = (match[1] or "").strip(), _value(match[2])
            if value is None and is_text:
                value = (match[2] or "").strip()[: _LONGEST_TEXT + 1]
                value = value if 0 < len(value) <= _LONGEST_TEXT else None
            if name in wanted and value is not None:
                found.append(Reading(name, value, _leading_time(line)))
    return found


def _value(text: str | None) -> str | None:
    """A number as it was written, if it is one."""
    stripped = (text or "").strip()
    value = number(stripped)
    if value is None:
        return None
    return stripped if len(stripped) <= _LONGEST_VALUE else repr(value)


def _leading_time(line: str) -> dt.datetime | None:
    first = line.split(maxsplit=1)[0]
    return _time(first) if "T" in first and first[0].isdigit() else None


def _time(text: str) -> dt.datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None


def _json(line: str, wanted: frozenset[str]) -> Iterator[Reading]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(record, dict):
        return
    for name in sorted(wanted & record.keys()):
        value = record[name]
        text = _value(value if isinstance(value, str) else json.dumps(value))
        if text is not None:
            yield Reading(name, text, _json_time(record.get("timestamp")))


def _json_time(value: Any) -> dt.datetime | None:
    if isinstance(value, str):
        return _time(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return dt.datetime.fromtimestamp(value, dt.UTC)
        except (OverflowError, OSError, ValueError):
            return None
    return None


def number(text: str | None) -> float | None:
    """The number a text stands for; ``None`` for ``unavailable`` and the like."""
    if text is None or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def summarise(
    readings: Iterable[Reading], before: Mapping[str, Summary] | None = None
) -> dict[str, Summary]:
    """Each metric's smallest, largest and last value, in the words they were written in.

    NaN and infinity are nobody's smallest or largest value where there is a number, but can be
    the last. A text counts where there is no number.
    """
    found = dict(before or {})
    for reading in readings:
        known = found.get(reading.name)
        if number(reading.value) is None:
            if known is None or known.min == UNAVAILABLE:
                found[reading.name] = Summary(UNAVAILABLE, UNAVAILABLE, reading.value)
        elif known is None or known.min == UNAVAILABLE:
            found[reading.name] = Summary(reading.value, reading.value, reading.value)
        else:
            found[reading.name] = Summary(
                min(known.min, reading.value, key=_low),
                max(known.max, reading.value, key=_high),
                reading.value,
            )
    return found


def _low(text: str) -> tuple[bool, bool, float]:
    value = float(text)
    return not math.isfinite(value), math.isnan(value), 0.0 if math.isnan(value) else value


def _high(text: str) -> tuple[bool, bool, float]:
    value = float(text)
    return math.isfinite(value), not math.isnan(value), 0.0 if math.isnan(value) else value


def strategy_value(
    objective: Mapping[str, Any], observation: Obj | None, metric: str | None = None
) -> float | None:
    """A metric's value in an observation, by the strategy chosen for it; a number or none."""
    metric_name = metric or objective.get("objectiveMetricName")
    default = "min" if objective.get("type") == "minimize" else "max"
    strategies = {s.get("name"): s.get("value") for s in objective.get("metricStrategies") or ()}
    strategy = strategies.get(metric_name, default)
    for found in (observation or {}).get("metrics") or ():
        if found.get("name") == metric_name:
            value = number(found.get(strategy))
            return value if value is not None and math.isfinite(value) else None
    return None


def text_value(objective: Mapping[str, Any], observation: Obj | None) -> str:
    """The objective's value where it is a text; else an empty one."""
    for found in (observation or {}).get("metrics") or ():
        if found.get("name") == objective.get("objectiveMetricName"):
            latest = str(found.get("latest") or "")
            return "" if latest == UNAVAILABLE or number(latest) is not None else latest
    return ""
