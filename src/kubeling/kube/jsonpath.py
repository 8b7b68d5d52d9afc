"""The subset of JSONPath that printer columns, scale paths, selectable fields and outputs use.

Kubernetes' dialect: ``.a.b``, ``.a['x.y']``, ``.a\\.b``, ``[0]``, ``[-1:]``, ``[*]`` and filters
such as ``[?(@.type=="Ready")]``. A path is compiled once into a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["JsonPathError", "compile_path", "find_all", "set_path"]

Find = Callable[[Obj], Any]
_Step = Callable[[list[Any]], list[Any]]

_TOKEN: Final = re.compile(
    r"""
    \.(?P<name>(?:\\.|[^.\[\]\\])+)
    | \[\s*'(?P<quoted>(?:\\'|[^'])*)'\s*\]
    | \[\s*"(?P<double>(?:\\"|[^"])*)"\s*\]
    | \[\s*(?P<index>-?\d+)\s*\]
    | \[\s*(?P<slice>-?\d*:-?\d*)\s*\]
    | (?:\.)?\[\s*(?P<all>\*)\s*\]
    | \[\?\(\s*@\.(?P<key>[\w.\-/]+)\s*(?P<op>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[\w.\-]+)\s*\)\]
    """,
    re.VERBOSE,
)


class JsonPathError(ValueError):
    """The path is not in the supported dialect."""


@cache
def compile_path(path: str) -> Find:
    """The first value the path finds in an object, or ``None``."""
    steps = _steps(path)

    def find(obj: Obj) -> Any:
        found = _walk(steps, obj)
        return found[0] if found else None

    return find


def find_all(path: str, obj: Obj) -> list[Any]:
    """Every value the path finds in an object."""
    return _walk(_steps(path), obj)


def _walk(steps: Iterable[_Step], obj: Obj) -> list[Any]:
    found: list[Any] = [obj]
    for step in steps:
        found = step(found)
    return found


def set_path(obj: Obj, path: str, value: Any) -> None:
    """Sets the value at a path of plain fields, making the objects on the way."""
    names = [match["name"] for match in _tokens(path)]
    for name in names[:-1]:
        obj = obj.setdefault(name, {})
    obj[names[-1]] = value


def _tokens(path: str) -> list[re.Match[str]]:
    text = path.strip().removeprefix("{").removesuffix("}")
    if text and text[0] not in ".[":
        text = "." + text
    position, found = 0, []
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise JsonPathError(f"cannot read the path {path!r} at {text[position:]!r}")
        found.append(match)
        position = match.end()
    return found


def _steps(path: str) -> list[_Step]:
    return [_step(match) for match in _tokens(path)]


def _step(match: re.Match[str]) -> _Step:
    if match["all"] or match["name"] == "*":
        return lambda found: [item for value in found for item in _items(value)]
    if match["index"] is not None:
        index = int(match["index"])
        return lambda found: [
            value[index]
            for value in found
            if isinstance(value, list) and -len(value) <= index < len(value)
        ]
    if match["slice"]:
        part = slice(*(int(end) if end else None for end in match["slice"].split(":")))
        return lambda found: [
            item for value in found if isinstance(value, list) for item in value[part]
        ]
    if match["key"]:
        return _filter(match["key"], match["op"], match["value"])
    name = match["name"] or match["quoted"] or match["double"] or ""
    name = re.sub(r"\\(.)", r"\1", name)
    return lambda found: [
        value[name] for value in found if isinstance(value, dict) and name in value
    ]


def _filter(key: str, op: str, text: str) -> _Step:
    wanted = text.strip("\"'")
    inner = compile_path(f".{key}")

    def keep(item: Any) -> bool:
        value = inner(item) if isinstance(item, dict) else None
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        return (shown == wanted) == (op == "==")

    return lambda found: [item for value in found for item in _items(value) if keep(item)]


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []
