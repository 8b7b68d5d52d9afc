"""Values as Go writes them: as JSON (``encoding/json``) and as text (``%v``).

Expressions print what they compute the way upstream does, which shows in sorted keys, in numbers
and in ``\\u003c`` for ``<``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any

from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["duration_text", "go_json", "go_text", "number_text", "parse_json"]

_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def go_json(value: Any, indent: str = "", *, html: bool = True) -> str:
    """The value as ``json.Marshal`` writes it, or ``MarshalIndent`` with an indent."""
    return _json(value, indent, "\n" if indent else "", html)


def _json(value: Any, indent: str, line: str, html: bool) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise ExpressionError(f"json: unsupported value: {number_text(value)}")
            return number_text(value, "json")
        case str():
            return _quoted(value, html)
        case dt.datetime():
            return _quoted(value.isoformat().replace("+00:00", "Z"), html)
        case dt.timedelta():
            return str(int(value / dt.timedelta(microseconds=1)) * 1000)
        case Mapping():
            colon = ": " if line else ":"
            members = [
                _quoted(str(key), html)
                + colon
                + _json(value[key], indent, line and line + indent, html)
                for key in sorted(value, key=str)
            ]
            return _enclosed("{", members, "}", indent, line)
        case list() | tuple():
            members = [_json(member, indent, line and line + indent, html) for member in value]
            return _enclosed("[", members, "]", indent, line)
    raise ExpressionError(f"{type(value).__name__} has no JSON form")


def _enclosed(opening: str, members: list[str], closing: str, indent: str, line: str) -> str:
    if not members or not line:
        return opening + ",".join(members) + closing
    inner = line + indent
    return opening + inner + f",{inner}".join(members) + line + closing


def _quoted(text: str, html: bool) -> str:
    shown = json.dumps(text, ensure_ascii=False).replace("\\b", "\\u0008").replace("\\f", "\\u000c")
    if html:
        for sign, escape in _HTML.items():
            shown = shown.replace(sign, escape)
    return shown


def number_text(value: float, style: str = "g") -> str:
    """A float in its shortest form; very large and small ones with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    size = abs(value)
    if (size and (size < 1e-6 if style == "json" else size < 1e-4)) or size >= 1e21:
        exponent, digits = _exponent(value), _digits(value)
        whole, rest = digits[0], digits[1:]
        mantissa = ("-" if value < 0 else "") + whole + (f".{rest}" if rest else "")
        shown = f"{abs(exponent)}" if style == "json" else f"{abs(exponent):02}"
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{shown}"
    if value == int(value):
        return str(int(value)) if value or math.copysign(1, value) > 0 else "-0"
    if "e" not in repr(value):
        return repr(value)
    sign = "-" if value < 0 else ""
    return f"{sign}0.{'0' * (-1 - _exponent(value))}{_digits(value)}"


def _exponent(value: float) -> int:
    mantissa, _, exponent = repr(abs(value)).partition("e")
    if exponent:
        return int(exponent)
    whole, _, rest = mantissa.partition(".")
    if whole != "0":
        return len(whole) - 1
    return -1 - (len(rest) - len(rest.lstrip("0")))


def _digits(value: float) -> str:
    text = repr(abs(value)).partition("e")[0].replace(".", "").lstrip("0")
    return text.rstrip("0") or "0"


def go_text(value: Any) -> str:
    """The value as ``fmt.Sprint`` writes it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return number_text(value)
        case dt.timedelta():
            return duration_text(value)
        case dt.datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S %z ") + (value.tzname() or "")
        case Mapping():
            inside = " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value, key=str))
            return f"map[{inside}]"
        case list() | tuple():
            return f"[{' '.join(map(go_text, value))}]"
    return str(value)


def duration_text(value: dt.timedelta) -> str:
    """A duration as Go prints it: ``1h2m3.5s``."""
    micros = round(value / dt.timedelta(microseconds=1))
    if micros == 0:
        return "0s"
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1000:
        return f"{sign}{micros}µs"
    if micros < 1_000_000:
        return f"{sign}{number_text(micros / 1000)}ms"
    seconds, rest = divmod(micros, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = number_text(seconds + rest / 1_000_000) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{tail}"
    return f"{sign}{minutes}m{tail}" if minutes else sign + tail


def parse_json(text: str) -> Any:
    """What ``json.Unmarshal`` into ``any`` gives: every number is a float."""
    try:
        return json.loads(text, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise ExpressionError(f"not JSON: {error}") from None
