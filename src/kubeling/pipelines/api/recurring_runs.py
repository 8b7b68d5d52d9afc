"""Recurring runs: RecurringRun objects, as upstream's API shows them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj, uid
from kubeling.pipelines.api.errors import InvalidArgumentError, NotFoundError
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.messages import RECURRING_RUN
from kubeling.pipelines.api.naming import create_named
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.runs import need_experiment, run_source
from kubeling.pipelines.api.service import DEFAULT_NAMESPACE, Service
from kubeling.pipelines.api.wire import body_of, compact, query_of, wire_time
from kubeling.pipelines.recurring_store import file_recurring_run
from kubeling.pipelines.resources import RECURRING_RUNS, Trigger
from kubeling.pipelines.schedule import ScheduleError, check_trigger
from kubeling.pipelines.tables import RECURRING_RUNS as TABLE

__all__ = ["RecurringRunService"]

_R: Final = TABLE.c
_MAX_CONCURRENCY: Final = 10
_MODES: Final = ("ENABLE", "DISABLE", "MODE_UNSPECIFIED")
_RECURRING: Final = Listable(
    TABLE,
    _R.recurring_run_id,
    {
        "recurring_run_id": _R.recurring_run_id,
        "id": _R.recurring_run_id,
        "display_name": _R.display_name,
        "name": _R.display_name,
        "created_at": _R.created_at,
        "updated_at": _R.updated_at,
        "description": _R.description,
        "experiment_id": _R.experiment_id,
        "status": _R.status,
        "namespace": _R.namespace,
    },
    _R.created_at,
)


class RecurringRunService(Service):
    """Upstream's RecurringRunService."""

    resource = "jobs"

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
        page = await self.database.run(
            lambda c: list_rows(c, _RECURRING, options, list(TABLE.c), *conditions)
        )
        return compact(
            recurringRuns=[_message(row) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        return _message(await self._allowed(request, "get"))

    async def create(self, request: web.Request) -> Obj:
        body = await body_of(request, RECURRING_RUN)
        namespace = await self.namespace_of(need_experiment(self, body))
        await self.allow(request, "create", namespace, body.get("display_name") or "")
        run, package = await run_source(self, body)
        if not _names_version(body) and (reference := run.get("pipelineVersionReference")):
            # Each run takes the latest version there is when it is due.
            run["pipelineVersionReference"] = {"pipelineID": reference["pipelineID"]}
            del run["pipelineSpec"]
            run.pop("platformSpec", None)
        trigger = _trigger(body.get("trigger") or {})
        if (mode := body.get("mode") or "ENABLE") not in _MODES:
            raise InvalidArgumentError(f"mode: Unsupported value: {mode!r} ({', '.join(_MODES)})")
        concurrency = body.get("max_concurrency") or 1
        spec = {
            "run": run,
            "trigger": msgspec.to_builtins(trigger),
            "enabled": mode != "DISABLE",
            "maxConcurrency": min(max(concurrency, 1), _MAX_CONCURRENCY),
            "noCatchup": bool(body.get("no_catchup")),
        }
        words = body.get("display_name") or package.spec.pipeline_info.name
        # Its runs are named after it and the moment they were due.
        job = await create_named(
            self.context.client, RECURRING_RUNS, str(words), namespace, spec, longest=51
        )
        now = self.context.clock.now()
        await self.database.run(lambda c: file_recurring_run(c, job, now))
        return _message(await self._row(uid(job)))

    async def delete(self, request: web.Request) -> Obj:
        """Deletes the schedule; runs it has created stay."""
        row = await self._allowed(request, "delete")
        await self.context.client.delete(RECURRING_RUNS, row.name, row.namespace, missing_ok=True)
        query = sa.delete(TABLE).where(_R.recurring_run_id == row.recurring_run_id)
        await self.database.run(lambda c: c.execute(query))
        return {}

    async def enable(self, request: web.Request) -> Obj:
        return await self._set_enabled(request, True)

    async def disable(self, request: web.Request) -> Obj:
        return await self._set_enabled(request, False)

    async def _set_enabled(self, request: web.Request, enabled: bool) -> Obj:
        row = await self._allowed(request, "enable" if enabled else "disable")
        patch = {"spec": {"enabled": enabled}}
        job = await self.context.client.patch(RECURRING_RUNS, row.name, patch, row.namespace)
        now = self.context.clock.now()
        await self.database.run(lambda c: file_recurring_run(c, job, now))
        return {}

    async def _allowed(self, request: web.Request, verb: str) -> Any:
        row = await self._row(request.match_info["job"])
        await self.allow(request, verb, row.namespace, row.display_name)
        return row

    async def _row(self, own_id: str) -> Any:
        query = sa.select(TABLE).where(_R.recurring_run_id == own_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("RecurringRun", own_id)
        return row


def _names_version(body: Obj) -> bool:
    reference = body.get("pipeline_version_reference") or {}
    return bool(body.get("pipeline_version_id") or reference.get("pipeline_version_id"))


def _trigger(given: Obj) -> Trigger:
    camel = {
        _camel(kind): {_camel(key): value for key, value in schedule.items() if value}
        for kind, schedule in given.items()
        if schedule
    }
    try:
        trigger = msgspec.convert(camel, Trigger)
        check_trigger(trigger)
    except (msgspec.ValidationError, ScheduleError) as error:
        raise InvalidArgumentError(f"trigger: {error}") from None
    return trigger


def _message(row: Any) -> Obj:
    spec = row.body
    run = spec["run"]
    reference = run.get("pipelineVersionReference")
    config = run.get("runtimeConfig") or {}
    source: Obj = {"pipeline_spec": run.get("pipelineSpec")}
    if run.get("platformSpec"):
        source = {
            "pipeline_spec": {
                "pipeline_spec": run["pipelineSpec"],
                "platform_spec": run["platformSpec"],
            }
        }
    if reference:
        source = {
            "pipeline_version_reference": compact(
                pipeline_id=reference.get("pipelineID"),
                pipeline_version_id=reference.get("pipelineVersionID"),
            )
        }
    return compact(
        recurring_run_id=row.recurring_run_id,
        display_name=row.display_name,
        description=row.description,
        **source,
        runtime_config=compact(
            parameters=config.get("parameters"), pipeline_root=config.get("pipelineRoot")
        ),
        service_account=run.get("serviceAccount"),
        plugins_input=run.get("pluginsInput"),
        max_concurrency=str(spec.get("maxConcurrency", 1)),
        trigger=_snake_trigger(spec.get("trigger") or {}),
        mode="ENABLE" if spec.get("enabled", True) else "DISABLE",
        created_at=wire_time(row.created_at),
        updated_at=wire_time(row.updated_at),
        status=row.status,
        no_catchup=spec.get("noCatchup"),
        namespace="" if row.namespace == DEFAULT_NAMESPACE else row.namespace,
        experiment_id=row.experiment_id,
    )


def _snake_trigger(trigger: Obj) -> Obj:
    shown: Obj = {}
    for kind, schedule in trigger.items():
        if schedule:
            values = {_snake(key): value for key, value in schedule.items()}
            if "interval_second" in values:
                values["interval_second"] = str(values["interval_second"])
            shown[_snake(kind)] = values
    return shown


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
