"""Compiled pipelines in the metadata database, each once however many runs it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from kubeling.kube.objects import Obj
from kubeling.pipelines.tables import SPECS

__all__ = ["read_spec", "read_specs", "spec_row"]


def spec_row(wrapped: Obj) -> dict[str, object]:
    """The row of a spec; specs that differ only in the order of keys are one."""
    ordered = msgspec.json.encode(wrapped, order="deterministic")
    digest = hashlib.sha256(ordered).hexdigest()
    return {"digest": digest, "body": msgspec.json.encode(wrapped)}


def read_specs(connection: sa.Connection, digests: Iterable[str]) -> dict[str, msgspec.Raw]:
    """Specs as JSON, to be sent as they are."""
    query = sa.select(SPECS).where(SPECS.c.digest.in_(sorted(set(digests))))
    return {row.digest: msgspec.Raw(row.body) for row in connection.execute(query)}


def read_spec(connection: sa.Connection, digest: str) -> msgspec.Raw:
    """One spec as JSON; an empty object if there is none."""
    return read_specs(connection, [digest]).get(digest, msgspec.Raw(b"{}"))
