"""Columns on MySQL and MariaDB that keep what the other databases keep.

By default theirs round times to seconds and numbers to seven digits, end texts after 64 KiB, and
take "a" and "A" for the same. Importing this module is enough.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

__all__: list[str] = []

_AS_WRITTEN = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@compiles(sa.DateTime, "mysql")
def _moment(*_: Any, **__: Any) -> str:
    return "DATETIME(6)"


@compiles(sa.Float, "mysql")
def _number(*_: Any, **__: Any) -> str:
    return "DOUBLE"


@compiles(sa.Text, "mysql")
def _text(*_: Any, **__: Any) -> str:
    return f"LONGTEXT {_AS_WRITTEN}"


@compiles(sa.String, "mysql")
def _string(element: sa.String, *_: Any, **__: Any) -> str:
    return f"VARCHAR({element.length}) {_AS_WRITTEN}"
