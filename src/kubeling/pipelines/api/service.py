"""What all services of the API have: the platform's context and an open database."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from kubeling.component import Context
from kubeling.pipelines.api.errors import NotFoundError
from kubeling.pipelines.tables import EXPERIMENTS

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["DEFAULT_NAMESPACE", "Service"]

DEFAULT_NAMESPACE: Final = "default"
"""Where runs run whose experiment names no namespace."""


class Service:
    """One group of endpoints; each takes a request and returns the message to answer with."""

    def __init__(self, context: Context, database: Database) -> None:
        self.context = context
        self.database = database

    def now(self) -> dt.datetime:
        """The time as the tables keep it."""
        return self.context.clock.now().astimezone(dt.UTC).replace(tzinfo=None)

    async def namespace_of(self, experiment_id: str) -> str:
        """Where runs of an experiment run."""
        if not experiment_id:
            return DEFAULT_NAMESPACE
        columns = EXPERIMENTS.c
        query = sa.select(columns.namespace).where(columns.experiment_id == experiment_id)
        found = await self.database.run(lambda c: c.execute(query).first())
        if found is None:
            raise NotFoundError.of("Experiment", experiment_id)
        return str(found.namespace) or DEFAULT_NAMESPACE
