"""Traces: which are recorded, what travels with requests, and what a dead collector costs."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.collector import Collector, collecting

from kubeling.monitoring.tracing import Kind, Span, Tracer, open_tracer
from kubeling.monitoring.tracing import settings as settings_of_traces
from kubeling.monitoring.tracing.context import Remote
from kubeling.monitoring.tracing.sampling import sampler_of
from kubeling.monitoring.tracing.sending import Sending
from kubeling.rpc.calls import Method
from kubeling.rpc.server import metadata, serving
from kubeling.rpc.wire import Message

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def recorded(sampler: str = "", argument: str = "") -> tuple[Tracer, list[Span]]:
    found: list[Span] = []
    return Tracer(sampler_of(sampler, argument), found.append), found


def test_traces_are_off_unless_somebody_says_where_they_go() -> None:
    assert open_tracer("s", {}) is None
    assert (
        open_tracer("s", {"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER": "always_on"}) is None
    )


class _Request(Message):
    """What a collector of gRPC was sent."""

    @classmethod
    def from_bytes(cls, data: bytes) -> _Request:
        received.append(data)
        return cls()


class _Reply(Message):
    pass


received: list[bytes] = []


@pytest.mark.parametrize("said", [{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {}], ids=str)
async def test_spans_arrive_over_grpc_where_that_is_said(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    async def take(_: _Request) -> _Reply:
        seen.append(metadata().get("api-key"))
        return _Reply()

    received.clear()
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    async with serving({Method(service, "Export", _Request, _Reply): take}) as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k")
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        if not said:
            # KServe's default names the port of gRPC, and no protocol.
            monkeypatch.setattr(settings_of_traces, "_GRPC_PORT", f":{port}")
        tracer = open_tracer("iris", {**endpoint, **said})
        assert tracer is not None
        tracer.request("GET", {"traceparent": PARENT}).end()
        await asyncio.to_thread(tracer.close)
    assert seen == ["k"]
    assert bytes.fromhex(TRACE) in received[0]
    assert b"iris" in received[0]


@pytest.mark.parametrize(
    "off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}], ids=str
)
def test_traces_can_be_turned_off_where_there_is_a_collector(off: dict[str, str]) -> None:
    assert open_tracer("s", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://here:4318", **off}) is None


def test_spans_arrive_at_the_collector_when_the_process_ends(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=a")
    tracer = open_tracer("iris")
    assert tracer is not None
    request = tracer.request("POST", {"traceparent": PARENT, "tracestate": "vendor=1"}, {"n": 3})
    with request.child("ask", Kind.CLIENT) as asked:
        asked.event("sent", {"bytes": 9})
    request.fail("500", "it broke")
    request.end()
    tracer.close()
    (ask,), (server,) = collector.spans(name="ask"), collector.spans(name="POST")
    assert (server.service, server.kind, server.trace) == ("iris", "server", TRACE)
    assert (server.parent, server.state, server.failed) == (SPAN, "vendor=1", True)
    assert server.attributes == {"n": 3, "error.type": "500"}
    assert server.resource["team"] == "a"
    assert (ask.kind, ask.parent, ask.failed) == ("client", server.id, False)
    assert ask.events == {"sent": {"bytes": 9}}
    assert 0 <= ask.nanoseconds <= server.nanoseconds


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "/"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces"),
    ],
)
def test_spans_go_where_a_setting_says_that_is_no_variable_of_the_process(
    variable: str, path: str
) -> None:
    with collecting() as collector:
        tracer = open_tracer("iris", {variable: f"{collector.url}{path}"})
        assert tracer is not None
        tracer.request("GET", {}).end()
        tracer.close()
        assert collector.spans(name="GET")


def test_the_variables_name_the_service(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    tracer = open_tracer("iris")
    assert tracer is not None
    tracer.request("GET", {}).end()
    tracer.close()
    assert collector.spans(service="mine", name="GET")


def test_spans_arrive_while_the_process_goes_on(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    tracer = open_tracer("iris")
    assert tracer is not None
    for expected in (1, 2):
        tracer.request("GET", {}).end()
        collector.until(lambda spans, n=expected: len(spans) == n)
    tracer.close()


def test_spans_are_printed_where_that_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    tracer = open_tracer("iris", {"OTEL_TRACES_EXPORTER": "console"})
    assert tracer is not None
    tracer.request("GET", {"traceparent": PARENT}).end()
    tracer.close()
    assert json.loads(capfd.readouterr().out)["parent_id"] == f"0x{SPAN}"


def test_who_is_asked_learns_the_trace_and_whether_it_is_recorded() -> None:
    tracer, spans = recorded()
    span = tracer.request("GET", {"traceparent": PARENT, "tracestate": "a=b"})
    assert span.headers() == {"traceparent": f"00-{TRACE}-{span.span_id}-01", "tracestate": "a=b"}
    unsampled = tracer.request("GET", {"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert unsampled.child("x").traceparent.startswith(f"00-{TRACE}-")
    assert unsampled.traceparent.endswith("-00")
    unsampled.set("a", 1)
    unsampled.event("e")
    unsampled.fail("500")
    unsampled.end()
    assert spans == []


@pytest.mark.parametrize(
    "said",
    [
        "",
        "no",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_what_is_no_traceparent_begins_a_trace_of_its_own(said: str) -> None:
    tracer, _ = recorded()
    span = tracer.request("GET", {"traceparent": said, "tracestate": "a=b"})
    assert (span.parent_id, span.state, span.sampled) == ("", "", True)
    assert span.trace_id != TRACE


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    found = Remote.of({"traceparent": f"01-{TRACE}-{SPAN}-03-more"})
    assert found == Remote(TRACE, SPAN, True, "")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80), st.text(max_size=600))
def test_no_header_makes_it_fail(parent: str, state: str) -> None:
    tracer, _ = recorded()
    tracer.request("GET", {"traceparent": parent, "tracestate": state}).end()


@pytest.mark.parametrize(
    ("sampler", "argument", "alone", "with_recorded", "with_unrecorded"),
    [
        ("", "", True, True, False),
        ("always_on", "", True, True, True),
        ("always_off", "", False, False, False),
        ("traceidratio", "0", False, False, False),
        ("parentbased_always_off", "", False, True, False),
        ("parentbased_traceidratio", "0", False, True, False),
        ("parentbased_traceidratio", "1", True, True, False),
        ("parentbased_traceidratio", "nonsense", True, True, False),
        ("nonsense", "", True, True, False),
    ],
)
def test_samplers_are_those_of_opentelemetry(
    sampler: str, argument: str, alone: bool, with_recorded: bool, with_unrecorded: bool
) -> None:
    tracer, _ = recorded(sampler, argument)
    assert tracer.request("GET", {}).sampled is alone
    assert tracer.request("GET", {"traceparent": PARENT}).sampled is with_recorded
    parent = f"00-{TRACE}-{SPAN}-00"
    assert tracer.request("GET", {"traceparent": parent}).sampled is with_unrecorded


def test_a_share_of_the_traces_is_recorded() -> None:
    tracer, _ = recorded("traceidratio", "0.25")
    share = sum(tracer.request("GET", {}).sampled for _ in range(4000)) / 4000
    assert 0.15 < share < 0.35


class _Nowhere:
    """Takes nothing, until it is closed."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.closed = threading.Event()

    def deliver(self, spans: Sequence[Span]) -> bool:
        self.asked.set()
        self.closed.wait(60)
        return False

    def close(self) -> None:
        self.closed.set()


def test_a_collector_that_hangs_costs_a_bounded_queue(caplog: pytest.LogCaptureFixture) -> None:
    outlet = _Nowhere()
    sending = Sending(lambda: outlet, queue=10, batch=4, delay=0.01)
    tracer = Tracer(sampler_of(""), sending.add, sending.close)
    tracer.request("GET", {}).end()
    assert outlet.asked.wait(60)
    for _ in range(30):
        tracer.request("GET", {}).end()
    assert sending.dropped == 20
    outlet.close()
    tracer.close()
    assert len(caplog.records) == 1, "it is said once"


def test_a_collector_that_is_not_there_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    tracer = open_tracer("iris")
    assert tracer is not None
    for _ in range(3):
        tracer.request("GET", {}).end()
    with caplog.at_level(logging.WARNING):
        tracer.close()
    said = [r.message for r in caplog.records if r.name.startswith("kubeling")]
    assert said == ["traces do not arrive; until they do, spans are dropped"]
