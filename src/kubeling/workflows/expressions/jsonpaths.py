"""JSONPath, as the function ``jsonpath`` of expressions understands it.

A path that can only mean one value gives that value, and is an error where there is none; one with
wildcards, slices, filters or ``..`` gives the list of what it finds. Filters are written in the
expression language, with ``@`` for the element. (upstream: ``evilmonkeyinc/jsonpath``)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["query"]

_STEP: Final = re.compile(
    r"""(?P<deep>\.\.)?(?:
      \.?(?P<star>\*)
    | \.?(?P<name>[A-Za-z_][\w-]*)
    | \[(?P<inner>(?:[^\]\['"]|'[^']*'|"[^"]*"|\[[^\]]*\])*)\]
    )""",
    re.VERBOSE,
)
_NAMES: Final = re.compile(r"""'([^']*)'|"([^"]*)\"""")

Filter = Callable[[str, Any], bool]


def query(path: str, value: Any, holds: Filter) -> Any:
    """What a path finds; ``holds`` decides a filter for an element."""
    text = path.strip().removeprefix("$")
    found: list[Any] = [value]
    single = True
    position = 0
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None or not step.group():
            raise ExpressionError(f'jsonpath: "{path}" cannot be read at "{text[position:]}"')
        position = step.end()
        if step["deep"]:
            found = [inner for one in found for inner in _descend(one)]
            single = False
        if not _is_single(step):
            single = False
        found = [inner for one in found for inner in _pick(step, one, holds)]
    if not single:
        return found
    if not found:
        raise ExpressionError(f'jsonpath: nothing is at "{path}"')
    return found[0]


def _is_single(step: re.Match[str]) -> bool:
    if step["star"]:
        return False
    inner = (step["inner"] or "0").strip()
    return bool(re.fullmatch(r"""-?\d+|'[^']*'|"[^"]*\"""", inner))


def _pick(step: re.Match[str], value: Any, holds: Filter) -> Iterator[Any]:
    if step["star"]:
        yield from _members(value)
    elif step["name"]:
        yield from _named(value, step["name"])
    else:
        yield from _bracket(step["inner"].strip(), value, holds)


def _bracket(inner: str, value: Any, holds: Filter) -> Iterator[Any]:
    if inner == "*":
        yield from _members(value)
    elif inner.startswith("?"):
        condition = inner[1:].strip().removeprefix("(").removesuffix(")")
        yield from (member for member in _members(value) if holds(condition, member))
    elif inner[:1] in ("'", '"'):
        for one, other in _NAMES.findall(inner):
            yield from _named(value, one or other)
    elif ":" in inner:
        if isinstance(value, list):
            bounds = [int(part) if part.strip() else None for part in inner.split(":")]
            yield from value[slice(*bounds)]
    else:
        for part in inner.split(","):
            yield from _numbered(value, part.strip())


def _numbered(value: Any, index: str) -> Iterator[Any]:
    if not re.fullmatch(r"-?\d+", index):
        raise ExpressionError(f'jsonpath: "[{index}]" is not an index')
    if isinstance(value, list) and -len(value) <= int(index) < len(value):
        yield value[int(index)]


def _named(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict) and name in value:
        yield value[name]


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value[key] for key in sorted(value)]
    return value if isinstance(value, list) else []


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for member in _members(value):
        yield from _descend(member)
