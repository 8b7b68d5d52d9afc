"""What all services of the API have: the platform's context and an open database."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from kubeling.component import Context

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["Service"]


class Service:
    """One group of endpoints; each takes a request and returns the message to answer with."""

    def __init__(self, context: Context, database: Database) -> None:
        self.context = context
        self.database = database

    def now(self) -> dt.datetime:
        """The time as the tables keep it."""
        return self.context.clock.now().astimezone(dt.UTC).replace(tzinfo=None)
