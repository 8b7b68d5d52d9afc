"""Part of a text, in any case, as each database finds it fastest.

SQLite's ``LIKE`` knows no case by itself; putting both sides in lower letters first, as SQLAlchemy
does for it, takes more than twice as long.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["PartOf", "contains"]


class _Matches(FunctionElement[bool]):
    type = sa.Boolean()
    name = "matches"
    inherit_cache = True


class PartOf(_Matches):
    """Whether ``text`` contains ``part``; who knows an index of the text may ask that."""

    inherit_cache = True

    def __init__(self, text: sa.ColumnElement[Any], part: str) -> None:
        escaped = "".join(f"/{c}" if c in "%_/" else c for c in part)
        super().__init__(text, sa.literal(f"%{escaped}%"))
        self.text, self.part = text, part


def contains(text: sa.ColumnElement[Any], part: str) -> PartOf:
    """Whether a text contains another."""
    return PartOf(text, part)


@compiles(_Matches)
def _like(element: _Matches, compiler: SQLCompiler, **options: Any) -> str:
    return _written(element, compiler, "LIKE", options)


@compiles(_Matches, "mysql")
def _lower(element: _Matches, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = (sa.func.lower(clause) for clause in element.clauses)
    return _written(_Matches(text, pattern), compiler, "LIKE", options)


@compiles(_Matches, "postgresql")
def _ilike(element: _Matches, compiler: SQLCompiler, **options: Any) -> str:
    return _written(element, compiler, "ILIKE", options)


def _written(element: _Matches, compiler: SQLCompiler, operator: str, options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{text} {operator} {pattern} ESCAPE '/'"
