"""Pods of steps whose run ended long ago: objects that nothing needs once their log is kept."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from kubeling.component import Context
from kubeling.kube.objects import Obj, labels, name, namespace
from kubeling.kube.resources import PODS
from kubeling.pipelines.logs import kept_log
from kubeling.pipelines.pods import RUN_ID
from kubeling.pipelines.records import FINAL_STATES
from kubeling.pipelines.tables import RUNS

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["delete_pods", "old_pods"]

_CHUNK = 500


async def old_pods(context: Context, database: Database, age: dt.timedelta) -> list[Obj]:
    """The pods of runs that ended longer ago, whose logs are kept."""
    pods = (await context.client.list(PODS, labels=RUN_ID)).items
    ids = sorted({labels(pod)[RUN_ID] for pod in pods})
    oldest = context.clock.now().astimezone(dt.UTC).replace(tzinfo=None) - age
    ended: set[str] = set()
    for start in range(0, len(ids), _CHUNK):
        query = sa.select(RUNS.c.run_id).where(
            RUNS.c.run_id.in_(ids[start : start + _CHUNK]),
            RUNS.c.state.in_(FINAL_STATES),
            RUNS.c.finished_at <= oldest,
        )
        ended |= await database.run(partial(_ids, query))
    found = [pod for pod in pods if labels(pod)[RUN_ID] in ended]
    return await asyncio.to_thread(lambda: [pod for pod in found if _has_log(context, pod)])


def _ids(query: sa.Select[Any], connection: sa.Connection) -> set[str]:
    return set(connection.execute(query).scalars())


async def delete_pods(context: Context, pods: list[Obj]) -> None:
    """Deletes them; those that are gone already are no error."""
    for pod in pods:
        await context.client.delete(PODS, name(pod), namespace(pod), missing_ok=True)


def _has_log(context: Context, pod: Obj) -> bool:
    where, run_id = namespace(pod), labels(pod)[RUN_ID]
    return kept_log(context.artifacts, where, run_id, name(pod)).exists()
