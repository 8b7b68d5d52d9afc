"""What is wrong with one entry: its name, where an artifact lies, a duration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.expressions import tags

__all__ = ["MAX_TEXT", "duration_errors", "entry_name_errors"]

MAX_TEXT: Final = 100 * 1024
_PARAMETER: Final = re.compile(r"^[-A-Za-z0-9_]+$")


def entry_name_errors(entry: Obj, path: str, seen: set[str]) -> Iterator[FieldError]:
    name = str(entry.get("name") or "")
    if not name:
        yield FieldError(f"{path}.name", "Required value", "give it a name")
    elif not tags.has_tags(name) and not _PARAMETER.match(name):
        message = "use letters, digits, hyphens and underscores"
        yield FieldError(f"{path}.name", "Invalid value", message, name)
    elif name in seen:
        yield FieldError(f"{path}.name", "Duplicate value", "", name)
    seen.add(name)


def duration_errors(value: Any, path: str) -> Iterator[FieldError]:
    try:
        parse_duration(value)
    except ValueError as error:
        yield FieldError(path, "Invalid value", str(error))
