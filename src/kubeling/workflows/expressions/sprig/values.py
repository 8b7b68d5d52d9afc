"""Sprig's functions of defaults, types, paths, addresses and versions."""

from __future__ import annotations

import datetime as dt
import os.path
import posixpath
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.exprlang_operators import equal
from kubeling.workflows.expressions.sprig.casts import is_empty

__all__ = ["FUNCTIONS"]

_KINDS: Final[dict[type, tuple[str, str]]] = {
    bool: ("bool", "bool"),
    int: ("int", "int"),
    float: ("float64", "float64"),
    str: ("string", "string"),
    list: ("slice", "[]interface {}"),
    dict: ("map", "map[string]interface {}"),
    type(None): ("invalid", "<nil>"),
    dt.datetime: ("struct", "time.Time"),
    dt.timedelta: ("int64", "time.Duration"),
}
_VERSION: Final = re.compile(
    r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?"
)
_CONSTRAINT: Final = re.compile(r"(=|!=|>=|<=|=>|=<|>|<|~>|~|\^)?\s*(v?[\dxX*][^\s,]*)")


def _default(other: Any, value: Any = None) -> Any:
    return other if is_empty(value) else value


def _fail(message: str) -> Any:
    raise ExpressionError(message)


def _url_parse(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    return {
        "scheme": parts.scheme,
        "host": parts.netloc.rpartition("@")[2],
        "hostname": parts.hostname or "",
        "path": unquote(parts.path),
        "query": parts.query,
        "opaque": "" if parts.netloc or parts.path.startswith("/") else parts.path,
        "fragment": parts.fragment,
        "userinfo": parts.netloc.rpartition("@")[0],
    }


def _url_join(parts: Mapping[str, str]) -> str:
    user = f"{parts['userinfo']}@" if parts.get("userinfo") else ""
    shown = f"{parts['scheme']}:" if parts.get("scheme") else ""
    if parts.get("opaque"):
        shown += parts["opaque"]
    elif parts.get("host") or user:
        path = parts.get("path") or ""
        shown += f"//{user}{parts.get('host') or ''}"
        shown += path if not path or path.startswith("/") else f"/{path}"
    else:
        shown += parts.get("path") or ""
    shown += f"?{parts['query']}" if parts.get("query") else ""
    return shown + (f"#{parts['fragment']}" if parts.get("fragment") else "")


def _semver(text: str) -> dict[str, Any]:
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise ExpressionError("Invalid Semantic Version")
    return {
        "Major": int(found[1]),
        "Minor": int(found[2] or 0),
        "Patch": int(found[3] or 0),
        "PreRelease": found[4] or "",
        "Prerelease": found[4] or "",
        "Metadata": found[5] or "",
        "Original": text,
    }


def _order(text: str) -> tuple[Any, ...]:
    version = _semver(text)
    numbers = (version["Major"], version["Minor"], version["Patch"])
    if not version["Prerelease"]:
        return (*numbers, 1, ())
    parts = version["Prerelease"].split(".")
    return (*numbers, 0, tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts))


def _semver_compare(constraint: str, text: str) -> bool:
    return any(_holds(part, text) for part in constraint.split("||"))


def _holds(constraint: str, text: str) -> bool:
    ranged = re.sub(r"(\S+)\s+-\s+(\S+)", r">=\1, <=\2", constraint)
    found = _CONSTRAINT.findall(ranged)
    if not found:
        raise ExpressionError(f"improper constraint: {constraint}")
    if _semver(text)["Prerelease"] and not any("-" in wanted for _, wanted in found):
        return False
    return all(_meets(sign or "=", wanted, text) for sign, wanted in found)


def _meets(sign: str, wanted: str, text: str) -> bool:
    open_ = re.search(r"[xX*]", wanted) is not None or wanted.lstrip("v").count(".") < 2
    base = re.sub(r"[xX*]", "0", wanted)
    low, value = _order(base), _order(text)
    given = len([part for part in wanted.lstrip("v").split(".") if part not in ("x", "X", "*")])
    match sign:
        case "=" if open_:
            return value[:given] == low[:given]
        case "=":
            return value == low
        case "!=":
            return value[:given] != low[:given] if open_ else value != low
        case ">":
            return value[:given] > low[:given] if open_ else value > low
        case "<":
            return value < low
        case ">=" | "=>":
            return value >= low
        case "<=" | "=<":
            return value[:given] <= low[:given] if open_ else value <= low
        case "~" | "~>":
            same = 1 if given < 2 else 2
            return value >= low and (given == 0 or value[:same] == low[:same])
    leading = next((place for place in range(3) if low[place]), min(given, 3) - 1)
    return value >= low and value[: leading + 1] == low[: leading + 1]


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "default": _default,
    "empty": is_empty,
    "coalesce": lambda *values: next((v for v in values if not is_empty(v)), None),
    "all": lambda *values: all(not is_empty(value) for value in values),
    "any": lambda *values: any(not is_empty(value) for value in values),
    "ternary": lambda yes, no, condition: yes if condition else no,
    "fail": _fail,
    "typeOf": lambda value: _KINDS.get(type(value), ("", "interface {}"))[1],
    "typeIs": lambda wanted, value: _KINDS.get(type(value), ("", ""))[1] == wanted,
    "typeIsLike": lambda wanted, value: (
        _KINDS.get(type(value), ("", ""))[1].lstrip("*") == wanted.lstrip("*")
    ),
    "kindOf": lambda value: _KINDS.get(type(value), ("struct", ""))[0],
    "kindIs": lambda wanted, value: _KINDS.get(type(value), ("struct", ""))[0] == wanted,
    "deepEqual": equal,
    "base": lambda path: posixpath.basename(path.rstrip("/")) or ("/" if path else "."),
    "dir": lambda path: posixpath.normpath(posixpath.dirname(path) or "."),
    "clean": lambda path: posixpath.normpath(path or "."),
    "ext": lambda path: posixpath.splitext(path)[1],
    "isAbs": lambda path: path.startswith("/"),
    "osBase": lambda path: os.path.basename(path.rstrip("/")) or ("/" if path else "."),
    "osDir": lambda path: os.path.normpath(os.path.dirname(path) or "."),
    "osClean": lambda path: os.path.normpath(path or "."),
    "osExt": lambda path: os.path.splitext(path)[1],
    "osIsAbs": os.path.isabs,
    "uuidv4": lambda: str(uuid.uuid4()),
    "urlParse": _url_parse,
    "urlJoin": _url_join,
    "semver": _semver,
    "semverCompare": _semver_compare,
}
