"""Katib's DBManager: metrics reported by trials and asked for by SDKs, over gRPC.

Source: ``pkg/db/v1beta1`` and ``cmd/db-manager`` of Katib. Upstream files logs by the trial's name
alone; here a name leads to the one trial that has it, and where trials of several namespaces do,
``namespace/name`` says which.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from kubeling.component import Context, Listener
from kubeling.kube.objects import Obj, name, namespace, parse_time, uid
from kubeling.tuning.metrics import UNAVAILABLE, Reading, number
from kubeling.tuning.resources import TRIALS

if TYPE_CHECKING:
    from kubeling.rpc.calls import Method
    from kubeling.rpc.server import Handler
    from kubeling.tuning.grpc import messages as m
    from kubeling.tuning.observations import ObservationStore

__all__ = ["DbManager", "db_manager"]

PORT: Final = 6789
_LONGEST_NAME: Final = 255


def db_manager(context: Context) -> Listener:
    """Where upstream's SDKs look for it: ``katib-db-manager.kubeflow:6789``."""

    manager = DbManager(context)

    def serve(listening: socket.socket) -> AbstractAsyncContextManager[int]:
        from kubeling.rpc.server import serving

        return serving(manager.handlers(), listening=listening)

    def serving(host: str, port: int) -> AbstractAsyncContextManager[int]:
        from kubeling.rpc.idle import serving_when_called

        return serving_when_called(serve, host, port)

    return Listener("katib-db-manager", PORT, serving)


class DbManager:
    """Answers the three calls."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._trials = context.informers.of(TRIALS)
        self._trials.add_index("name", lambda trial: (name(trial),))

    def handlers(self) -> Mapping[Method[Any, Any], Handler]:
        """The calls by method."""
        from kubeling.tuning.grpc import services

        return {
            services.REPORT_OBSERVATION_LOG: self.report,
            services.GET_OBSERVATION_LOG: self.get,
            services.DELETE_OBSERVATION_LOG: self.delete,
        }

    async def report(self, request: m.ReportObservationLogRequest) -> m.ReportObservationLogReply:
        """Files what a trial reports after what it reported before."""
        from kubeling.rpc.calls import Code, RpcError
        from kubeling.tuning.grpc import messages as m
        from kubeling.tuning.observations import TooManyReadings

        trial = await self._trial(request.trial_name)
        readings = [
            _reading(log)
            for log in request.observation_log.metric_logs
            if log.metric.value != UNAVAILABLE
        ]
        try:
            await self._store().report(namespace(trial), uid(trial), readings)
        except TooManyReadings as error:
            raise RpcError(Code.RESOURCE_EXHAUSTED, str(error)) from error
        return m.ReportObservationLogReply()

    async def get(self, request: m.GetObservationLogRequest) -> bytes:
        """A trial's readings, of one metric and within a span of time if the caller says so."""
        trial = await self._trial(request.trial_name)
        readings = await self._store().read(
            namespace(trial),
            uid(trial),
            request.metric_name,
            _time(request.start_time),
            _time(request.end_time),
        )
        # There may be a million of them.
        return await asyncio.to_thread(_encoded, readings)

    async def delete(self, request: m.DeleteObservationLogRequest) -> m.DeleteObservationLogReply:
        """Forgets a trial's readings."""
        from kubeling.tuning.grpc import messages as m

        trial = await self._trial(request.trial_name)
        await self._store().forget(namespace(trial), uid(trial))
        return m.DeleteObservationLogReply()

    async def _trial(self, asked: str) -> Obj:
        from kubeling.rpc.calls import Code, RpcError

        where, _, title = asked.rpartition("/")
        await self._context.informers.synced(TRIALS)
        found = self._trials.by_index("name", title)
        if not found:
            # Younger than what the cache shows.
            listed = await self._context.client.list(TRIALS, fields=f"metadata.name={title}")
            found = listed.items
        found = [trial for trial in found if not where or namespace(trial) == where]
        if not found:
            raise RpcError(Code.NOT_FOUND, f'there is no trial "{asked}"')
        if len(found) > 1:
            places = ", ".join(sorted(f"{namespace(trial)}/{title}" for trial in found))
            said = f'several trials are named "{title}"; ask for one of {places}'
            raise RpcError(Code.INVALID_ARGUMENT, said)
        return found[0]

    def _store(self) -> ObservationStore:
        from kubeling.tuning.observations import ObservationStore

        return ObservationStore(lambda: self._context.database)


def _encoded(readings: Iterable[Reading]) -> bytes:
    from kubeling.tuning.grpc import messages as m

    logs = [m.MetricLog(_stamp(r.time), m.Metric(r.name, r.value)) for r in readings]
    return m.GetObservationLogReply(m.ObservationLog(logs)).to_bytes()


def _reading(log: m.MetricLog) -> Reading:
    from kubeling.rpc.calls import Code, RpcError

    title, value = log.metric.name, log.metric.value
    if not 0 < len(title) <= _LONGEST_NAME:
        said = f'a metric\'s name has 1 to {_LONGEST_NAME} characters; not "{title}"'
        raise RpcError(Code.INVALID_ARGUMENT, said)
    known = number(value)
    if known is None:
        raise RpcError(Code.INVALID_ARGUMENT, f'metric "{title}": "{value}" is no number')
    return Reading(title, value if len(value) <= 64 else repr(known), _time(log.time_stamp))


def _time(text: str) -> dt.datetime | None:
    from kubeling.rpc.calls import Code, RpcError

    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        said = f'"{text}" is no time of RFC 3339, such as 2026-01-01T00:00:00Z'
        raise RpcError(Code.INVALID_ARGUMENT, said) from None


def _stamp(time: dt.datetime | None) -> str:
    return time.isoformat().replace("+00:00", "Z") if time is not None else ""
