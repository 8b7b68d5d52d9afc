"""All steps of a run in brief, however many: what a picture of the run needs, in one answer.

Upstream's ``run_details`` carries what each task took and made, which for ten thousand tasks is
tens of megabytes. This is only columns of the tasks' table; the edges come from the spec, which
is read once for each run. ``?cache=true`` adds what the cache answered, in words, to runs of fewer
than 500 steps: it is not in a column.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import NotFoundError
from kubeling.pipelines.api.run_messages import run_message
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.ir import DagSpec, PipelineSpec
from kubeling.pipelines.nodes import child_path
from kubeling.pipelines.packages import unwrap
from kubeling.pipelines.spec_store import read_spec
from kubeling.pipelines.store import EXTERNAL
from kubeling.pipelines.tables import RUNS, TASKS

__all__ = ["StepService"]

_T: Final = TASKS.c
_COLUMNS: Final = (
    _T.path, _T.task_id, _T.display_name, _T.kind, _T.state, _T.cached, _T.created_at,
    _T.started_at, _T.finished_at,
)  # fmt: skip
_SPECS: Final = 16
_LARGE: Final = 500


class StepService(Service):
    """The steps of runs."""

    resource = "runs"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._specs: dict[str, PipelineSpec | None] = {}

    async def list(self, request: web.Request) -> Obj:
        """The run without its spec, and every step: groups first, then what is in them."""
        run_id = request.match_info["run"]

        wanted = request.query.get("cache") == "true"

        def work(
            connection: sa.Connection,
        ) -> tuple[Any, Sequence[Any], dict[str, str], msgspec.Raw | None]:
            run = connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).first()
            rows = connection.execute(
                sa.select(*_COLUMNS).where(_T.run_id == run_id, _T.path != "", _T.kind != EXTERNAL)
            )
            found = rows.all()
            answers = _answers(connection, run_id) if wanted and len(found) < _LARGE else {}
            if run is None or run.spec_digest in self._specs:
                return run, found, answers, None
            return run, found, answers, read_spec(connection, run.spec_digest)

        run, rows, answers, document = await self.database.run(work)
        if run is None:
            raise NotFoundError.of("Run", run_id)
        await self.allow(request, "get", run.namespace, run.name)
        spec = self._spec(run.spec_digest, document)
        message = run_message(run, None)
        if len(rows) < _LARGE:
            return {"run": message, "steps": _steps(rows, spec, answers)}
        return {"run": message, "steps": await asyncio.to_thread(_steps, rows, spec, answers)}

    def _spec(self, digest: str, document: msgspec.Raw | None) -> PipelineSpec | None:
        if document is not None:
            try:
                self._specs[digest] = unwrap(msgspec.json.decode(document)).spec
            except ValueError:
                self._specs[digest] = None
            if len(self._specs) > _SPECS:
                del self._specs[next(iter(self._specs))]
        return self._specs.get(digest)


class _Answered(msgspec.Struct):
    """Of a task's body, what the cache answered."""

    cache: str = ""


def _answers(connection: sa.Connection, run_id: str) -> dict[str, str]:
    """By task, what the cache answered."""
    rows = connection.execute(sa.select(_T.task_id, _T.body).where(_T.run_id == run_id))
    return {key: msgspec.json.decode(body, type=_Answered).cache for key, body in rows}


def _steps(rows: Sequence[Any], spec: PipelineSpec | None, answers: Mapping[str, str]) -> list[Obj]:
    kinds = {row.path: row.kind for row in rows}
    dags = _Dags(spec, kinds)
    return [_step(row, kinds, dags, answers) for row in sorted(rows, key=_order)]


def _step(row: Any, kinds: dict[str, str], dags: _Dags, answers: Mapping[str, str]) -> Obj:
    parent, _, name = row.path.rpartition("/")
    iterates = kinds.get(parent) == "loop"
    step: Obj = {"path": row.path, "task_id": row.task_id, "name": row.display_name or name}
    step["state"] = row.state
    kind = "iteration" if iterates and row.kind == "dag" else row.kind
    for key, value in (
        ("kind", kind),
        ("cached", row.cached),
        ("cache", answers.get(row.task_id)),
        ("create_time", _time(row.created_at)),
        ("start_time", _time(row.started_at)),
        ("end_time", _time(row.finished_at)),
    ):
        if value:
            step[key] = value
    dag = None if iterates else dags.of(parent)
    if dag is not None and name in dag.tasks and dag.tasks[name].upstream:
        step["after"] = [child_path(parent, before) for before in sorted(dag.tasks[name].upstream)]
    return step


def _order(row: Any) -> tuple[Any, ...]:
    return tuple(f"{int(p):09d}" if p.isdecimal() else p for p in row.path.split("/"))


class _Dags:
    """What each group of a run is made of, by its path."""

    def __init__(self, spec: PipelineSpec | None, kinds: dict[str, str]) -> None:
        self._spec = spec
        self._kinds = kinds
        self._components: dict[str, str | None] = {}

    def of(self, path: str) -> DagSpec | None:
        if self._spec is None:
            return None
        if not path:
            return self._spec.root.dag
        component = self._spec.components.get(self._component(path) or "")
        return component.dag if component is not None else None

    def _component(self, path: str) -> str | None:
        if path not in self._components:
            parent, _, name = path.rpartition("/")
            if self._kinds.get(parent) == "loop":
                found = self._component(parent)
            else:
                dag = self.of(parent)
                task = dag.tasks.get(name) if dag is not None else None
                found = task.component_ref.name if task is not None else None
            self._components[path] = found
        return self._components[path]


def _time(moment: dt.datetime | None) -> str:
    return f"{moment.isoformat()}Z" if moment is not None else ""
