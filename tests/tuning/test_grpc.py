"""Katib's gRPC APIs: what is sent is what protobuf would send, and calls of any size arrive."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.client import call
from kubeling.rpc.server import serving
from kubeling.rpc.wire import MessageError
from kubeling.tuning.grpc import messages as m
from kubeling.tuning.grpc.services import (
    GET_OBSERVATION_LOG,
    REPORT_OBSERVATION_LOG,
    SET_TRIAL_STATUS,
)

TEXT = st.text(max_size=20)
METRICS = st.builds(m.Metric, TEXT, TEXT)
TRIALS = st.builds(
    m.Trial,
    TEXT,
    st.builds(
        m.TrialSpec,
        objective=st.builds(
            m.ObjectiveSpec,
            st.sampled_from(m.ObjectiveType),
            st.floats(allow_nan=False),
            TEXT,
            st.lists(TEXT, max_size=3),
        ),
        labels=st.dictionaries(TEXT, TEXT, max_size=3),
    ),
    st.builds(
        m.TrialStatus,
        condition=st.sampled_from(m.TrialConditionType),
        observation=st.builds(m.Observation, st.lists(METRICS, max_size=3)),
    ),
)


@given(TRIALS)
def test_a_message_reads_as_it_was_written(trial: m.Trial) -> None:
    assert m.Trial.from_bytes(trial.to_bytes()) == trial


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_numbers_keep_their_sign(sizes: list[int]) -> None:
    graph = m.GraphConfig(input_sizes=sizes)
    assert m.GraphConfig.from_bytes(graph.to_bytes()).input_sizes == sizes


def test_the_bytes_are_those_of_protocol_buffers() -> None:
    """What upstream's generated code makes of the same values."""
    rule = m.EarlyStoppingRule("loss", "0.5", m.ComparisonType.GREATER, 4)
    assert rule.to_bytes().hex() == "0a046c6f73731203302e3518032004"
    assert m.GraphConfig(8, [32, 3]).to_bytes().hex() == "08081202" + "2003"
    assert m.SuggestedPoint(labels={"a": "b"}).to_bytes().hex() == "1a060a0161120162"
    assert m.ObjectiveSpec(goal=0.5).to_bytes().hex() == "11000000000000e03f"


def test_fields_nobody_knows_are_passed_over() -> None:
    assert m.Metric.from_bytes(b"\x0a\x01a\x98\x06\x07\xa2\x06\x01x\x12\x01b") == m.Metric("a", "b")


@given(st.binary(max_size=40))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    try:
        m.GetSuggestionsRequest.from_bytes(data)
    except MessageError:
        return


async def test_calls_of_any_size_arrive() -> None:
    """Larger than a frame and than both sides' first windows, in both directions."""
    kept: dict[str, m.ObservationLog] = {}

    async def report(request: Any) -> m.ReportObservationLogReply:
        kept[request.trial_name] = request.observation_log
        return m.ReportObservationLogReply()

    async def get(request: Any) -> m.GetObservationLogReply:
        return m.GetObservationLogReply(kept[request.trial_name])

    log = m.ObservationLog(
        [m.MetricLog("2026-01-01T00:00:00Z", m.Metric("loss", str(i))) for i in range(60_000)]
    )
    async with serving({REPORT_OBSERVATION_LOG: report, GET_OBSERVATION_LOG: get}) as port:
        address = f"127.0.0.1:{port}"
        await call(address, REPORT_OBSERVATION_LOG, m.ReportObservationLogRequest("t", log))
        answer = await call(address, GET_OBSERVATION_LOG, m.GetObservationLogRequest("t"))
    assert answer.observation_log == log


async def test_a_refusal_keeps_its_code_and_words() -> None:
    async def refuse(_: Any) -> m.SetTrialStatusReply:
        raise RpcError(Code.INVALID_ARGUMENT, "trial «x» is unknown: 100%\nreally")

    async with serving({SET_TRIAL_STATUS: refuse}) as port:
        with pytest.raises(RpcError, match="trial «x» is unknown: 100%\nreally") as refused:
            await call(f"127.0.0.1:{port}", SET_TRIAL_STATUS, m.SetTrialStatusRequest("x"))
        assert refused.value.code is Code.INVALID_ARGUMENT
        with pytest.raises(RpcError):
            await call(f"127.0.0.1:{port}", GET_OBSERVATION_LOG, m.GetObservationLogRequest())


async def test_a_service_that_is_not_there_is_named() -> None:
    async with serving({}) as port:
        address = f"127.0.0.1:{port}"
    with pytest.raises(RpcError, match=f"EarlyStopping at {address} cannot be reached"):
        await call(address, SET_TRIAL_STATUS, m.SetTrialStatusRequest("x"))
