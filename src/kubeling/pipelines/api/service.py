"""What all services of the API have: the platform's context and an open database."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, ClassVar, Final

import sqlalchemy as sa
from aiohttp import web

from kubeling.component import Context
from kubeling.pipelines.api.access import Access
from kubeling.pipelines.api.errors import InvalidArgumentError, NotFoundError
from kubeling.pipelines.tables import EXPERIMENTS

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["DEFAULT_NAMESPACE", "PLATFORM", "Service"]

DEFAULT_NAMESPACE: Final = "default"
"""Where runs run whose experiment names no namespace."""

PLATFORM: Final = os.environ.get("POD_NAMESPACE") or "kubeflow"
"""The namespace in which rights on what belongs to nobody are granted."""


class Service:
    """One group of endpoints; each takes a request and returns the message to answer with."""

    resource: ClassVar[str]
    """What rights to use it are granted on."""

    def __init__(self, context: Context, database: Database) -> None:
        self.context = context
        self.database = database
        self.access = Access(context)

    async def allow(self, request: web.Request, verb: str, namespace: str, name: str = "") -> None:
        """Returns if who asks may do this."""
        await self.access.require(request, verb, self.resource, namespace, name)

    async def allow_pipeline(
        self, request: web.Request, verb: str, namespace: str, name: str = ""
    ) -> None:
        """As :meth:`allow` for pipelines: those without a namespace are everybody's to read.

        Who changes them needs the right to in the platform's own namespace.
        """
        if namespace or verb not in ("get", "list"):
            await self.allow(request, verb, namespace or PLATFORM, name)

    def need_namespace(self, namespace: str) -> str:
        """The namespace, which many users must name: their rights are by namespace."""
        if self.access.multi_user and not namespace:
            raise InvalidArgumentError(
                "namespace: Required value: in multi-user mode resources belong to a namespace"
            )
        return namespace

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
