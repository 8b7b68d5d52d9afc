"""Experiments: groups of runs."""

from __future__ import annotations

import uuid
from typing import Any, Final

import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from kubeling.pipelines.api.limits import MAX_NAMESPACE, check_length
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.messages import EXPERIMENT
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.wire import body_of, compact, query_of, wire_time
from kubeling.pipelines.resources import RECURRING_RUNS
from kubeling.pipelines.store import default_experiment
from kubeling.pipelines.tables import EXPERIMENTS, RUNS
from kubeling.pipelines.tables import RECURRING_RUNS as RECURRING_TABLE

__all__ = ["ExperimentService"]

_MAX_NAME: Final = 128
_E: Final = EXPERIMENTS.c
_EXPERIMENTS: Final = Listable(
    EXPERIMENTS,
    _E.experiment_id,
    {
        "experiment_id": _E.experiment_id,
        "id": _E.experiment_id,
        "display_name": _E.display_name,
        "name": _E.display_name,
        "created_at": _E.created_at,
        "last_run_created_at": _E.last_run_created_at,
        "description": _E.description,
        "namespace": _E.namespace,
        "storage_state": _E.storage_state,
    },
    _E.created_at,
)


class ExperimentService(Service):
    """Upstream's ExperimentService."""

    resource = "experiments"

    async def list(self, request: web.Request) -> Obj:
        options = list_options(request)
        namespace = self.need_namespace(query_of(request, "namespace"))
        await self.allow(request, "list", namespace)
        conditions = [_E.namespace == namespace] if namespace else []
        now = self.context.clock.now()

        def work(connection: sa.Connection) -> Any:
            if not self.access.multi_user:
                default_experiment(connection, now)
            return list_rows(connection, _EXPERIMENTS, options, list(EXPERIMENTS.c), *conditions)

        page = await self.database.run(work)
        return compact(
            experiments=[_experiment(row) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        return _experiment(await self._allowed(request, "get"))

    async def create(self, request: web.Request) -> Obj:
        body = await body_of(request, EXPERIMENT)
        shown = body.get("display_name") or ""
        if not shown:
            raise InvalidArgumentError("display_name: Required value: the experiment's name")
        check_length("display_name", shown, _MAX_NAME)
        namespace = self.need_namespace(body.get("namespace") or "")
        check_length("namespace", namespace, MAX_NAMESPACE)
        await self.allow(request, "create", namespace, shown)
        own_id = str(uuid.uuid4())
        values = {
            "experiment_id": own_id,
            "namespace": namespace,
            "display_name": shown,
            "description": body.get("description") or "",
            "storage_state": "AVAILABLE",
            "created_at": self.now(),
        }

        def work(connection: sa.Connection) -> None:
            query = sa.select(_E.experiment_id).where(
                _E.display_name == shown, _E.namespace == values["namespace"]
            )
            if connection.execute(query).first():
                raise AlreadyExistsError(f'an experiment named "{shown}" exists')
            connection.execute(sa.insert(EXPERIMENTS).values(**values))

        await self.database.run(work)
        return _experiment(await self._row(own_id))

    async def delete(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "delete")
        if row.display_name == "Default" and not row.namespace:
            raise FailedPreconditionError("the Default experiment cannot be deleted")
        query = sa.delete(EXPERIMENTS).where(_E.experiment_id == row.experiment_id)
        await self.database.run(lambda c: c.execute(query))
        return {}

    async def archive(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "archive")
        own_id = row.experiment_id

        def work(connection: sa.Connection) -> list[Any]:
            for table in (EXPERIMENTS, RUNS):
                connection.execute(
                    sa.update(table)
                    .where(table.c.experiment_id == own_id)
                    .values(storage_state="ARCHIVED")
                )
            jobs = RECURRING_TABLE.c
            query = sa.select(jobs.namespace, jobs.name).where(jobs.experiment_id == own_id)
            return list(connection.execute(query))

        for job in await self.database.run(work):
            patch = {"spec": {"enabled": False}}
            if await self.context.client.find(RECURRING_RUNS, job.name, job.namespace):
                await self.context.client.patch(RECURRING_RUNS, job.name, patch, job.namespace)
        return {}

    async def unarchive(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "unarchive")
        query = sa.update(EXPERIMENTS).where(_E.experiment_id == row.experiment_id)
        await self.database.run(lambda c: c.execute(query.values(storage_state="AVAILABLE")))
        return {}

    async def _allowed(self, request: web.Request, verb: str) -> Any:
        row = await self._row(request.match_info["experiment"])
        await self.allow(request, verb, row.namespace, row.display_name)
        return row

    async def _row(self, experiment_id: str) -> Any:
        query = sa.select(EXPERIMENTS).where(_E.experiment_id == experiment_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Experiment", experiment_id)
        return row


def _experiment(row: Any) -> Obj:
    return compact(
        experiment_id=row.experiment_id,
        display_name=row.display_name,
        description=row.description,
        created_at=wire_time(row.created_at),
        namespace=row.namespace,
        storage_state=row.storage_state,
        last_run_created_at=wire_time(row.last_run_created_at),
    )
