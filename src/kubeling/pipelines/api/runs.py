"""Runs: creating, listing, stopping, retrying.

A run is created as a Run object first; its row in the database follows from the object, so there is
no moment at which a crash could leave one that nobody carries out.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shutil
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.metadata.text_parts import TextParts
from kubeling.pipelines.api.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from kubeling.pipelines.api.limits import checked_plugins
from kubeling.pipelines.api.listing import Listable, Page, Segment, list_rows
from kubeling.pipelines.api.messages import RUN
from kubeling.pipelines.api.naming import create_named
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.run_messages import run_message, task_details
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.wire import body_of, compact, query_of
from kubeling.pipelines.logs import logs_of_run
from kubeling.pipelines.nodes import TaskNode
from kubeling.pipelines.packages import Package, unwrap
from kubeling.pipelines.records import FINAL_STATES
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.run_deletion import delete_runs
from kubeling.pipelines.spec_store import read_spec, read_specs
from kubeling.pipelines.store import EXTERNAL, ensure_run
from kubeling.pipelines.tables import EXPERIMENTS, METRICS, TASKS, VERSIONS
from kubeling.pipelines.tables import RUNS as TABLE

__all__ = ["RUN_LISTS", "RunService", "need_experiment", "run_source", "source_values"]

_YOUNG: Final = dt.timedelta(seconds=5)
_HOLD: Final = 2.0
_R: Final = TABLE.c
_SDK: Final = "OpenAPI-Generator/"


def _by_metric(name: str) -> list[Segment] | None:
    """Runs by the largest value of a metric; those without it follow, in both directions."""
    if not name.startswith("metric:"):
        return None
    metric = name.removeprefix("metric:")
    own, other = METRICS.c, METRICS.alias("other").c
    identity = own.task_id + sa.cast(own.artifact_id, sa.String(20))
    other_identity = other.task_id + sa.cast(other.artifact_id, sa.String(20))
    beaten = sa.exists().where(
        other.name == metric,
        other.run_id == own.run_id,
        sa.or_(
            other.value > own.value,
            sa.and_(other.value == own.value, other_identity > identity),
        ),
    )
    has = sa.exists().where(own.name == metric, own.run_id == _R.run_id)
    joined = METRICS.join(TABLE, own.run_id == _R.run_id)
    return [
        Segment(joined, own.value, [own.name == metric, ~beaten]),
        Segment(TABLE, None, [~has]),
    ]


RUN_LISTS: Final = Listable(
    TABLE,
    _R.run_id,
    {
        "run_id": _R.run_id,
        "id": _R.run_id,
        "display_name": _R.display_name,
        "name": _R.display_name,
        "created_at": _R.created_at,
        "finished_at": _R.finished_at,
        "scheduled_at": _R.scheduled_at,
        "description": _R.description,
        "storage_state": _R.storage_state,
        "state": _R.state,
        "state_history": sa.cast(_R.state_history, sa.Text),
        "status": _R.state,
        "namespace": _R.namespace,
        "experiment_id": _R.experiment_id,
        "recurring_run_id": _R.recurring_run_id,
        "pipeline_id": _R.pipeline_id,
        "pipeline_version_id": _R.pipeline_version_id,
    },
    _R.created_at,
    extra_orders=_by_metric,
    choices={"storage_state": ("AVAILABLE", "ARCHIVED")},
    parts=[TextParts(_R.display_name, "pipeline_run_names")],
)


class RunService(Service):
    """Upstream's RunService."""

    resource = "runs"

    async def list(self, request: web.Request) -> Obj:
        options = list_options(request)
        conditions = []
        namespace = query_of(request, "namespace")
        if experiment := query_of(request, "experiment_id"):
            conditions.append(_R.experiment_id == experiment)
            namespace = namespace or await self.namespace_of(experiment)
        elif namespace:
            conditions.append(_R.namespace == namespace)
        await self.allow(request, "list", self.need_namespace(namespace))

        def work(connection: sa.Connection) -> tuple[Page, dict[str, msgspec.Raw]]:
            page = list_rows(connection, RUN_LISTS, options, list(TABLE.c), *conditions)
            own = [row.spec_digest for row in page.rows if not row.pipeline_id]
            return page, read_specs(connection, own) if own else {}

        page, specs = await self.database.run(work)
        return compact(
            runs=[run_message(row, specs.get(row.spec_digest)) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "get")
        run_id = row.run_id
        if self._is_worth_waiting(request, row):
            await self._wait_for_end(row)
            row = await self._row(run_id)
        query = sa.select(TASKS.c.body).where(TASKS.c.run_id == run_id, TASKS.c.kind != EXTERNAL)

        def work(connection: sa.Connection) -> tuple[msgspec.Raw, list[bytes]]:
            spec = read_spec(connection, row.spec_digest)
            return spec, list(connection.execute(query).scalars())

        spec, bodies = await self.database.run(work)
        return await asyncio.to_thread(_with_tasks, row, spec, bodies)

    async def create(self, request: web.Request) -> Obj:
        body = await body_of(request, RUN)
        body.setdefault("experiment_id", query_of(request, "experiment_id"))
        namespace = await self.namespace_of(need_experiment(self, body))
        await self.allow(request, "create", namespace, body.get("display_name") or "")
        spec, package = await run_source(self, body)
        pipeline = package.spec.pipeline_info.name
        run = await create_named(self.context.client, RUNS, pipeline, namespace, spec)
        await self._file(run, package)
        document = msgspec.Raw(msgspec.json.encode(package.wrapped))
        return run_message(await self._row(uid(run)), document)

    async def _file(self, run: Obj, package: Package) -> None:
        """Makes the row; a client that is told this failed must not find the run all the same."""
        now, client = self.context.clock.now(), self.context.client
        try:
            await self.database.run(lambda c: ensure_run(c, run, package.wrapped, now))
        except ApiError:
            with contextlib.suppress(ApiError):
                await client.delete(RUNS, name(run), namespace(run), uid=uid(run), missing_ok=True)
            raise

    async def delete(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "delete")
        await self.context.client.delete(
            RUNS, row.name, row.namespace, propagation="Background", uid=row.run_id, missing_ok=True
        )

        await self.database.run(lambda c: delete_runs(c, [row.run_id]))
        logs = logs_of_run(self.context.artifacts, row.namespace, row.run_id)
        await asyncio.to_thread(shutil.rmtree, logs, ignore_errors=True)
        return {}

    async def archive(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "archive")
        return await self._set_storage_state(row.run_id, "ARCHIVED")

    async def unarchive(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "unarchive")
        experiment = sa.select(EXPERIMENTS.c.storage_state).where(
            EXPERIMENTS.c.experiment_id == row.experiment_id
        )
        if await self.database.run(lambda c: c.execute(experiment).scalar()) == "ARCHIVED":
            raise FailedPreconditionError(
                f"run {row.run_id} belongs to an archived experiment; unarchive that first"
            )
        return await self._set_storage_state(row.run_id, "AVAILABLE")

    async def terminate(self, request: web.Request) -> Obj:
        """Stops a run; one that has ended stays as it is."""
        row = await self._allowed(request, "terminate")
        if row.state not in FINAL_STATES:
            patch = {"spec": {"terminate": True}}
            await self.context.client.patch(RUNS, row.name, patch, row.namespace)
        return {}

    async def retry(self, request: web.Request) -> Obj:
        """Sends a failed run back to work; tasks that succeeded are not run again."""
        row = await self._allowed(request, "retry")
        if row.state not in ("FAILED", "CANCELED"):
            raise FailedPreconditionError(
                f"run {row.run_id} is {row.state}; only a failed run can be retried"
            )
        patch = {"spec": {"retries": row.epoch + 1, "terminate": False}}
        await self.context.client.patch(RUNS, row.name, patch, row.namespace)
        # Unless the controller was faster, a client that asks now must not see the old end.
        query = sa.update(TABLE).where(_R.run_id == row.run_id, _R.epoch == row.epoch)
        await self.database.run(lambda c: c.execute(query.values(state="PENDING", error="")))
        return {}

    async def _row(self, run_id: str) -> Any:
        query = sa.select(TABLE).where(_R.run_id == run_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Run", run_id)
        return row

    async def _allowed(self, request: web.Request, verb: str) -> Any:
        row = await self._row(request.match_info["run"])
        await self.allow(request, verb, row.namespace, row.name)
        return row

    async def _set_storage_state(self, run_id: str, state: str) -> Obj:
        query = sa.update(TABLE).where(_R.run_id == run_id).values(storage_state=state)
        await self.database.run(lambda c: c.execute(query))
        return {}

    def _is_worth_waiting(self, request: web.Request, row: Any) -> bool:
        """Whether an SDK asks about a run that may end any moment.

        It asks again only after five seconds, so a short run would seem to take that long.
        """
        return (
            row.state not in FINAL_STATES
            and request.headers.get("User-Agent", "").startswith(_SDK)
            and self.now() - row.created_at < _YOUNG
        )

    async def _wait_for_end(self, row: Any) -> None:
        informer = self.context.informers.of(RUNS)
        ended = asyncio.Event()

        def look(_: Obj | None, run: Obj | None) -> None:
            if run is None or uid(run) != row.run_id:
                return
            if (run.get("status") or {}).get("state") in FINAL_STATES:
                ended.set()

        informer.add_handler(look)
        try:
            async with asyncio.timeout(_HOLD):
                await ended.wait()
        except TimeoutError:
            return
        finally:
            informer.remove_handler(look)


def need_experiment(service: Service, body: Obj) -> str:
    experiment = str(body.get("experiment_id") or "")
    if service.access.multi_user and not experiment:
        raise InvalidArgumentError(
            "Experiment id can not be empty in multi-user mode: it says in which namespace to run"
        )
    return experiment


async def run_source(service: Service, body: Obj) -> tuple[Obj, Package]:
    """The spec of a Run for what a client wants to run, and the pipeline it means."""
    version = body.get("pipeline_version_reference") or {}
    if old := body.get("pipeline_version_id"):
        version = {**version, "pipeline_version_id": old}
    spec = source_values(body)
    if document := body.get("pipeline_spec"):
        package = _unwrapped(document)
    elif version:
        row = await _find_version(service, version)
        package = _unwrapped(row.pipeline_spec)
        spec["pipelineVersionReference"] = {
            "pipelineID": row.pipeline_id,
            "pipelineVersionID": row.pipeline_version_id,
        }
    else:
        raise InvalidArgumentError(
            "pipeline_spec: Required value: a compiled pipeline, or pipeline_version_reference"
        )
    spec["pipelineSpec"] = package.document
    if package.platform:
        spec["platformSpec"] = package.platform
    return spec, package


def source_values(body: Obj) -> Obj:
    """The simple fields of a Run's spec."""
    config = body.get("runtime_config") or {}
    runtime = {
        "parameters": config.get("parameters") or {},
        "pipelineRoot": config.get("pipeline_root") or "",
    }
    fields = {
        "displayName": body.get("display_name"),
        "description": body.get("description"),
        "experimentID": body.get("experiment_id"),
        "serviceAccount": body.get("service_account"),
        "pluginsInput": checked_plugins(body.get("plugins_input")),
        "runtimeConfig": {key: value for key, value in runtime.items() if value},
    }
    return {key: value for key, value in fields.items() if value}


def _unwrapped(document: Any) -> Package:
    try:
        return unwrap(document)
    except ValueError as error:
        raise InvalidArgumentError(f"invalid pipeline: {error}") from None


async def _find_version(service: Service, reference: Obj) -> Any:
    columns = VERSIONS.c
    query = sa.select(VERSIONS).order_by(columns.created_at.desc()).limit(1)
    for field in ("pipeline_id", "pipeline_version_id"):
        if wanted := reference.get(field):
            query = query.where(columns[field] == wanted)
    row = await service.database.run(lambda c: c.execute(query).first())
    if row is None:
        shown = reference.get("pipeline_version_id") or reference.get("pipeline_id") or ""
        raise NotFoundError.of("PipelineVersion", shown)
    return row


def _with_tasks(row: Any, document: msgspec.Raw, bodies: list[bytes]) -> Obj:
    nodes = [msgspec.json.decode(body, type=TaskNode) for body in bodies]
    try:
        spec = unwrap(msgspec.json.decode(document)).spec
    except ValueError:
        spec = None
    return run_message(row, document, task_details(row.run_id, nodes, spec))
