"""``meta.k8s.io/v1`` Tables: the columns kubectl shows, for built-in kinds and for definitions.

A column is a name and a function of the object; the functions of built-in kinds are those of
upstream's ``printers/internalversion``. Definitions name theirs by JSONPath.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kubeling.apiserver.columns import BUILTIN_COLUMNS, Cell, Column
from kubeling.apiserver.jsonpath import compile_path
from kubeling.kube.durations import human_duration
from kubeling.kube.objects import Obj, parse_time

__all__ = ["IncludeObject", "columns_of", "to_table"]

IncludeObject = Literal["Metadata", "Object", "None"]


@dataclass(frozen=True, slots=True)
class _Age:
    """A cell that shows how long ago a moment was."""

    find: Callable[[Obj], Any]

    def at(self, obj: Obj, now: dt.datetime) -> str:
        moment = self.find(obj)
        if not isinstance(moment, str):
            return "<unknown>"
        return human_duration((now - parse_time(moment)).total_seconds())


def columns_of(
    group: str, kind: str, printer_columns: Sequence[Mapping[str, Any]] = ()
) -> list[Column]:
    """The columns of a kind: NAME first, AGE last where the kind names none of its own."""
    name = Column("Name", "string", lambda obj: obj["metadata"].get("name", ""))
    if printer_columns:
        return [name, *(_printer_column(column) for column in printer_columns)]
    if found := BUILTIN_COLUMNS.get((group, kind)):
        return list(found) if kind == "Event" else [name, *found]
    return [name, Column("Age", "date", lambda obj: obj["metadata"].get("creationTimestamp"))]


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
    cells = [_Age(column.cell) if column.type == "date" else column.cell for column in columns]
    rows = [
        {
            "cells": [cell.at(obj, now) if isinstance(cell, _Age) else cell(obj) for cell in cells],
            **_row_object(obj, include),
        }
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
        # Ages are rendered here, so clients get text, as from upstream's server.
        "type": "string" if column.type == "date" else column.type,
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
    find = compile_path(column["jsonPath"])
    kind = column.get("type", "string")
    return Column(
        column["name"],
        kind,
        find if kind == "date" else _typed(find, kind),
        int(column.get("priority") or 0),
        column.get("description", ""),
    )


def _typed(find: Callable[[Obj], Any], kind: str) -> Cell:
    def cell(obj: Obj) -> Any:
        value = find(obj)
        if value is None or kind != "string" or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return str(value).lower()
        return str(value)

    return cell
