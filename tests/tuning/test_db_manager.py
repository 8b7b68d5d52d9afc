"""What trials report over gRPC, and what SDKs read back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.tuning.cluster import Cluster, running_cluster

from kubeling.kube.objects import Obj, new_object
from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.client import call
from kubeling.tuning.db_manager import db_manager
from kubeling.tuning.grpc import messages as m
from kubeling.tuning.grpc import services
from kubeling.tuning.resources import TRIALS

NAMESPACES = ("team", "other")


@contextlib.asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    async with (
        running_cluster(tmp_path, lambda job: ("", 0), controllers=False) as cluster,
        db_manager(cluster.context).serving("127.0.0.1", 0) as port,
    ):
        yield cluster, f"127.0.0.1:{port}"


async def trial(cluster: Cluster, name: str, namespace: str = "team") -> Obj:
    return await cluster.client.create(TRIALS, new_object(TRIALS, name, namespace, spec={}))


def log(name: str, value: str, time: str = "2026-01-01T00:00:01Z") -> m.MetricLog:
    return m.MetricLog(time, m.Metric(name, value))


def report(trial: str, *logs: m.MetricLog) -> m.ReportObservationLogRequest:
    return m.ReportObservationLogRequest(trial, m.ObservationLog(list(logs)))


def found(reply: m.GetObservationLogReply) -> list[tuple[str, str, str]]:
    logs = reply.observation_log.metric_logs
    return [(one.time_stamp, one.metric.name, one.metric.value) for one in logs]


async def test_what_was_reported_is_read_back_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, address):
        await trial(cluster, "a")
        later = "2026-01-01T00:00:02Z"
        first = report("a", log("loss", "0.5"), log("accuracy", "0.9"))
        await call(address, services.REPORT_OBSERVATION_LOG, first)
        await call(
            address, services.REPORT_OBSERVATION_LOG, report("a", log("loss", "0.25", later))
        )
        everything = await call(
            address, services.GET_OBSERVATION_LOG, m.GetObservationLogRequest("a")
        )
        assert [value for _, _, value in found(everything)] == ["0.5", "0.9", "0.25"]
        asked = m.GetObservationLogRequest("a", "loss", later)
        assert found(await call(address, services.GET_OBSERVATION_LOG, asked)) == [
            (later, "loss", "0.25")
        ]
        await call(address, services.DELETE_OBSERVATION_LOG, m.DeleteObservationLogRequest("a"))
        asked = m.GetObservationLogRequest("a")
        assert found(await call(address, services.GET_OBSERVATION_LOG, asked)) == []


async def test_namesakes_of_two_namespaces_are_told_apart(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, address):
        for namespace in NAMESPACES:
            await trial(cluster, "same", namespace)
        with pytest.raises(RpcError, match="other/same, team/same"):
            await call(address, services.REPORT_OBSERVATION_LOG, report("same", log("loss", "1")))
        await call(address, services.REPORT_OBSERVATION_LOG, report("team/same", log("loss", "1")))
        counts = []
        for namespace in NAMESPACES:
            asked = m.GetObservationLogRequest(f"{namespace}/same")
            counts.append(len(found(await call(address, services.GET_OBSERVATION_LOG, asked))))
        assert counts == [1, 0]


async def test_what_cannot_be_kept_is_refused_in_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, address):
        await trial(cluster, "a")
        for logs, words in (
            (log("loss", "low"), 'metric "loss": "low" is no number'),
            (log("", "1"), "1 to 255 characters"),
            (log("loss", "1", "yesterday"), '"yesterday" is no time'),
        ):
            with pytest.raises(RpcError, match=words) as refused:
                await call(address, services.REPORT_OBSERVATION_LOG, report("a", logs))
            assert refused.value.code is Code.INVALID_ARGUMENT
        with pytest.raises(RpcError, match='no trial "b"') as unknown:
            await call(address, services.REPORT_OBSERVATION_LOG, report("b", log("loss", "1")))
        assert unknown.value.code is Code.NOT_FOUND
