"""``meta.k8s.io/v1`` Tables: the columns kubectl shows, for built-in kinds and for definitions.

A column is a name and a function of the object; the functions of built-in kinds are those of
upstream's ``printers/internalversion``. Definitions name theirs by JSONPath.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from kubeling.apiserver.columns import AGE, BUILTIN_COLUMNS, NAME, Cell, Column, age_of, shown
from kubeling.kube.jsonpath import compile_path
from kubeling.kube.objects import Obj

__all__ = ["IncludeObject", "columns_of", "to_table"]

IncludeObject = Literal["Metadata", "Object", "None"]


def columns_of(
    group: str, kind: str, printer_columns: Sequence[Mapping[str, Any]] = ()
) -> list[Column]:
    """The columns of a kind: NAME first, unless the kind shows it in its own way, and AGE."""
    if printer_columns:
        return [NAME, *(_printer_column(column) for column in printer_columns)]
    found = BUILTIN_COLUMNS.get((group, kind), (AGE,))
    named = any(column.name == NAME.name for column in found)
    return list(found) if named else [NAME, *found]


def to_table(
    objects: Iterable[Obj],
    columns: Sequence[Column],
    now: dt.datetime,
    *,
    include: IncludeObject = "Metadata",
    metadata: Obj | None = None,
    header: bool = True,
) -> Obj:
    """The objects as a Table; ``metadata`` is that of the list they come from."""
    rows = [
        {"cells": [column.cell(obj, now) for column in columns], **_row_object(obj, include)}
        for obj in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata or {},
        "columnDefinitions": [_definition(column) for column in columns] if header else [],
        "rows": rows,
    }


def _definition(column: Column) -> Obj:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column.name == "Name" else "",
        "description": column.description or column.name,
        "priority": column.priority,
    }


def _row_object(obj: Obj, include: IncludeObject) -> Obj:
    match include:
        case "None":
            return {}
        case "Object":
            return {"object": obj}
        case _:
            partial = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            }
            return {"object": partial}


def _printer_column(column: Mapping[str, Any]) -> Column:
    find, kind = compile_path(column["jsonPath"]), column.get("type", "string")
    return Column(
        column["name"],
        kind,
        _cell(find, kind),
        int(column.get("priority") or 0),
        column.get("description", ""),
    )


def _cell(find: Callable[[Obj], Any], kind: str) -> Cell:
    """What was found, if it is what the column promises; nothing is shown as nothing."""
    match kind:
        case "date":
            return lambda obj, now: None if (found := find(obj)) is None else age_of(found, now)
        case "integer" | "number":
            return shown(lambda obj: _number(find(obj)))
        case "boolean":
            return shown(lambda obj: found if isinstance(found := find(obj), bool) else None)
        case _:
            return shown(lambda obj: _words(find(obj)))


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _words(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
