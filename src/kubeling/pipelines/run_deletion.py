"""Taking runs out of the metadata database, with what only they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from kubeling.pipelines.tables import (
    ARTIFACT_TASKS,
    ARTIFACTS,
    CACHE,
    METRICS,
    RUNS,
    SPECS,
    TASKS,
)

__all__ = ["RunFiles", "delete_artifacts", "delete_runs", "files_of"]


_CHUNK: Final = 5000
"""Databases take only so many values in one statement."""


@dataclass(slots=True)
class RunFiles:
    """The artifacts that runs made, by whether a run that stays made or used them, too."""

    unused: dict[int, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


def files_of(connection: sa.Connection, runs: Sequence[str]) -> RunFiles:
    """The addresses of what the runs made."""
    links, rows = ARTIFACT_TASKS.c, ARTIFACTS.c
    made = sa.select(links.artifact_id).where(links.run_id.in_(runs), links.direction == "OUTPUT")
    own = list(
        connection.execute(sa.select(rows.artifact_id, rows.uri).where(rows.artifact_id.in_(made)))
    )
    # The same address may have been imported as another artifact.
    same = ARTIFACTS.alias("same")
    shared = (
        sa.select(same.c.uri)
        .distinct()
        .join(ARTIFACT_TASKS, links.artifact_id == same.c.artifact_id)
        .join(RUNS, RUNS.c.run_id == links.run_id)
        .where(
            same.c.uri.in_(sa.select(rows.uri).where(rows.artifact_id.in_(made))),
            links.run_id.not_in(runs),
        )
    )
    kept = set(connection.execute(shared).scalars())
    unused = {row.artifact_id: row.uri for row in own if row.uri not in kept}
    return RunFiles(unused, kept)


def delete_artifacts(
    connection: sa.Connection, artifacts: Iterable[int], runs: Sequence[str]
) -> None:
    """Forgets artifacts whose files are gone, and that tasks could take them."""
    wanted = sorted(artifacts)
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        connection.execute(sa.delete(ARTIFACTS).where(ARTIFACTS.c.artifact_id.in_(chunk)))
    connection.execute(sa.delete(CACHE).where(CACHE.c.run_id.in_(runs)))


def delete_runs(connection: sa.Connection, runs: Sequence[str]) -> None:
    """Deletes runs with their tasks, links and metrics, and specs that no run has any more."""
    digests = sa.select(RUNS.c.spec_digest).where(RUNS.c.run_id.in_(runs))
    specs = set(connection.execute(digests).scalars())
    for table in (METRICS, ARTIFACT_TASKS, TASKS, RUNS):
        connection.execute(sa.delete(table).where(table.c.run_id.in_(runs)))
    shared = sa.select(RUNS.c.spec_digest).where(RUNS.c.spec_digest.in_(specs)).distinct()
    if unused := specs - set(connection.execute(shared).scalars()):
        connection.execute(sa.delete(SPECS).where(SPECS.c.digest.in_(unused)))
