"""Tasks of runs, as upstream plans their API (KEP-12147).

What the platform carries out is only read here. A client that does part of a run by itself may
file its own tasks; they lie beside the platform's (kind ``external``) and decide nothing.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj, parse_time
from kubeling.pipelines.api.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.messages import TASK
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.task_messages import task_message, task_values
from kubeling.pipelines.api.wire import EPOCH, body_of, compact, query_of, wire_time
from kubeling.pipelines.ir import DagSpec, PipelineSpec, TaskSpec
from kubeling.pipelines.nodes import FINAL, TaskNode
from kubeling.pipelines.packages import unwrap
from kubeling.pipelines.spec_store import read_spec
from kubeling.pipelines.store import EXTERNAL, RunStore
from kubeling.pipelines.tables import RUNS, TASKS

__all__ = ["TaskService"]

_T: Final = TASKS.c
_STATES: Final = frozenset({"PENDING", "RUNNING", "PAUSED", "CANCELING"}) | FINAL
_TYPES: Final = frozenset({
    "ROOT", "RUNTIME", "CONDITION_BRANCH", "CONDITION", "LOOP", "LOOP_ITERATION", "EXIT_HANDLER",
    "DAG",
})  # fmt: skip
_LISTABLE: Final = Listable(
    TASKS,
    _T.task_id,
    {
        "task_id": _T.task_id,
        "id": _T.task_id,
        "run_id": _T.run_id,
        "name": _T.name,
        "display_name": _T.display_name,
        "state": _T.state,
        "status": _T.state,
        "create_time": _T.created_at,
        "created_at": _T.created_at,
        "start_time": _T.started_at,
        "end_time": _T.finished_at,
    },
    _T.created_at,
)


class TaskService(Service):
    """The tasks' part of the planned RunService."""

    resource = "runs"

    async def list(self, request: web.Request) -> Obj:
        field = "order_by" if query_of(request, "order_by") else "sort_by"
        options = list_options(request, field)
        run_id, parent = query_of(request, "run_id"), query_of(request, "parent_id")
        conditions = [_T.path != ""]
        if parent:
            found = await self._row(parent)
            run_id = found.run_id
            conditions += _within(found.path)
        if not run_id:
            raise InvalidArgumentError("run_id: Required value: a run, or parent_id with a task")
        run = await self._run(request, "get", run_id)
        columns = [_T.run_id, _T.kind, _T.body]
        page = await self.database.run(
            lambda c: list_rows(c, _LISTABLE, options, columns, *conditions, _T.run_id == run_id)
        )
        return compact(
            tasks=await self._messages(request, run, page.rows),
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        row = await self._row(request.match_info["task"])
        run = await self._run(request, "get", row.run_id)
        (message,) = await self._messages(request, run, [row])
        return message

    async def forget_cached(self, request: web.Request) -> Obj:
        """What the task made is not taken again: the next one alike runs."""
        row = await self._row(request.match_info["task"])
        await self._run(request, "update", row.run_id)
        return {"forgotten": await RunStore(self.database).forget_cached(row.task_id)}

    async def create(self, request: web.Request) -> Obj:
        body = await body_of(request, TASK)
        run_id = body.get("run_id") or ""
        if not run_id:
            raise InvalidArgumentError("run_id: Required value: the run that the task is part of")
        await self._run(request, "update", run_id)
        message = {**_checked(body), "task_id": str(uuid.uuid4()), "run_id": run_id}
        message.setdefault("create_time", wire_time(self.now()))
        await self.database.run(lambda c: c.execute(sa.insert(TASKS).values(**_row_of(message))))
        return message

    async def update(self, request: web.Request) -> Obj:
        row = await self._row(request.match_info["task"])
        await self._run(request, "update", row.run_id)
        body = _checked(await body_of(request, TASK))
        if row.kind != EXTERNAL:
            raise FailedPreconditionError(
                f"task {row.task_id} is carried out by the platform, which alone says how it is; "
                "tasks that were created by POST /tasks can be changed"
            )
        before = msgspec.json.decode(row.body, type=dict[str, Any])
        message = {**before, **body, "task_id": row.task_id, "run_id": row.run_id}
        values = _row_of(message)
        query = sa.update(TASKS).where(_T.task_id == row.task_id).values(**values)
        await self.database.run(lambda c: c.execute(query))
        return message

    async def _messages(self, request: web.Request, run: Any, rows: Sequence[Any]) -> Sequence[Obj]:
        values = query_of(request, "view").upper() == "VALUES"
        specs = None if values else await self._specs(run, rows)
        found = []
        for row in rows:
            if row.kind == EXTERNAL:
                found.append(msgspec.json.decode(row.body, type=dict[str, Any]))
                continue
            node = msgspec.json.decode(row.body, type=TaskNode)
            if specs is None:
                found.append(task_values(run.run_id, node))
            else:
                found.append(task_message(run.run_id, node, specs.of(node)))
        return found

    async def _specs(self, run: Any, rows: Sequence[Any]) -> _Specs:
        """What the spec says about the tasks: where their inputs come from."""
        nodes = [
            msgspec.json.decode(row.body, type=TaskNode) for row in rows if row.kind != EXTERNAL
        ]
        parents = {node.parent for node in nodes}

        def work(connection: sa.Connection) -> tuple[msgspec.Raw, list[TaskNode]]:
            query = sa.select(_T.body).where(
                _T.run_id == run.run_id, _T.kind != EXTERNAL, _T.path.in_(parents)
            )
            bodies = connection.execute(query).scalars()
            found = [msgspec.json.decode(body, type=TaskNode) for body in bodies]
            return read_spec(connection, run.spec_digest), found

        document, above = await self.database.run(work)
        try:
            spec = unwrap(msgspec.json.decode(document)).spec
        except ValueError:
            spec = None
        return _Specs(spec, above)

    async def _run(self, request: web.Request, verb: str, run_id: str) -> Any:
        query = sa.select(RUNS).where(RUNS.c.run_id == run_id)
        run = await self.database.run(lambda c: c.execute(query).first())
        if run is None:
            raise NotFoundError.of("Run", run_id)
        await self.allow(request, verb, run.namespace, run.name)
        return run

    async def _row(self, own_id: str) -> Any:
        query = sa.select(TASKS).where(_T.task_id == own_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Task", own_id)
        return row


class _Specs:
    """The specs of tasks, by the DAG they are in."""

    def __init__(self, spec: PipelineSpec | None, above: Iterable[TaskNode]) -> None:
        self._spec = spec
        self._components = {node.path: node.component for node in above}

    def of(self, node: TaskNode) -> TaskSpec | None:
        dag = self._dag(node.parent)
        return None if dag is None or node.is_root else dag.tasks.get(node.name)

    def _dag(self, path: str) -> DagSpec | None:
        if self._spec is None:
            return None
        if not path:
            return self._spec.root.dag
        component = self._spec.components.get(self._components.get(path, ""))
        return None if component is None else component.dag


def _within(path: str) -> list[sa.ColumnElement[bool]]:
    """The tasks directly in a task."""
    start = f"{path}/" if path else ""
    below = _T.path.startswith(start, autoescape=True) if start else _T.path != ""
    rest = sa.func.substr(_T.path, len(start) + 1)
    return [below, ~rest.contains("/")]


def _checked(body: Obj) -> Obj:
    """The message, if its states and times are some."""
    for field, known in (("status", _STATES), ("type", _TYPES)):
        if body.get(field, next(iter(known))) not in known:
            shown = ", ".join(sorted(known))
            raise InvalidArgumentError(f"{field}: Unsupported value: {body[field]!r} ({shown})")
    for field in ("create_time", "start_time", "end_time"):
        _moment(body, field)
    return body


def _moment(body: Obj, field: str) -> dt.datetime | None:
    text = body.get(field)
    if not text or text == EPOCH:
        return None
    try:
        return parse_time(text).astimezone(dt.UTC).replace(tzinfo=None)
    except ValueError:
        raise InvalidArgumentError(f"{field}: {text!r} is not an RFC 3339 time") from None


def _row_of(message: Obj) -> Obj:
    pods = message.get("pods") or []
    return {
        "run_id": message["run_id"],
        "path": f"#{message['task_id']}",
        "task_id": message["task_id"],
        "name": str(message.get("name") or "")[:255],
        "display_name": str(message.get("display_name") or message.get("name") or "")[:255],
        "kind": EXTERNAL,
        "state": message.get("status") or "PENDING",
        "cached": False,
        "pod": str(pods[0].get("name", ""))[:253] if pods else "",
        "created_at": _moment(message, "create_time"),
        "started_at": _moment(message, "start_time"),
        "finished_at": _moment(message, "end_time"),
        "body": msgspec.json.encode(message),
    }
