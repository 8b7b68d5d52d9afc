"""Metrics as trials print them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.tuning.loglines import is_filed, lines_of
from kubeling.tuning.metrics import Reading, Summary, parser, strategy_value, summarise
from kubeling.tuning.scraping import samples


def read(line: str, collector: dict | None = None) -> list[tuple[str, str]]:
    parse = parser(collector or {}, ["loss", "accuracy"])
    return [(reading.name, reading.value) for reading in parse(line)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("loss=0.25", [("loss", "0.25")]),
        ("epoch 1: loss = 2.5e-3, accuracy=.9", [("loss", "2.5e-3"), ("accuracy", ".9")]),
        ("loss=-1 other=3", [("loss", "-1")]),
        ("loss=nan", [("loss", "nan")]),
        ("loss=low", []),
        ("loss=info", []),
        ("loss=-inf", [("loss", "-inf")]),
        ("train-loss=1 xloss=2 loss|1=3", []),
        ("loss=" + "1" * 100, [("loss", repr(float("1" * 100)))]),
        ("", []),
    ],
)
def test_text_lines_hold_names_and_values(line: str, found: list[tuple[str, str]]) -> None:
    assert read(line) == found


def test_a_filter_replaces_the_usual_form() -> None:
    pattern = r"\{metricName: ([\w|-]+), metricValue: ((-?\d+)(\.\d+)?)\}"
    collector = {"source": {"filter": {"metricsFormat": [pattern]}}}
    line = "{metricName: accuracy, metricValue: 0.9};{metricName: loss, metricValue: 0.1} loss=7"
    assert read(line, collector) == [("accuracy", "0.9"), ("loss", "0.1")]


def test_a_filter_that_means_no_number_finds_texts() -> None:
    def found(pattern: str, line: str) -> list[tuple[str, str]]:
        return read(line, {"source": {"filter": {"metricsFormat": [pattern]}}})

    assert found(r"([\w-]+)=(Shape.*)", "loss=Shape(a=[1])") == [("loss", "Shape(a=[1])")]
    assert found(r"([\w-]+)=(Shape.*)", "loss=0.5") == []
    assert found(r"([\w-]+)=(Shape.*)", "loss=Shape" + "x" * 10_000) == []
    assert found(r"([\w-]+)\s*=\s*(.*)", "loss=none") == []
    assert found(r"([\w-]+)\s*=\s*(.*)", "loss=0.5") == [("loss", "0.5")]


def test_a_text_has_no_smallest_and_no_largest_value_and_numbers_come_first() -> None:
    first, last = Reading("loss", "Shape(a)"), Reading("loss", "Shape(b)")
    assert summarise([first, last]) == {"loss": Summary("unavailable", "unavailable", "Shape(b)")}
    assert summarise([first, Reading("loss", "0.5"), last]) == {
        "loss": Summary("0.5", "0.5", "0.5")
    }


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"loss": "0.3", "epoch": 1}', [("loss", "0.3")]),
        ('{"loss": 0.3}', [("loss", "0.3")]),
        ("starting up", []),
        ("[1, 2]", []),
        ("[" * 100_000, []),
        ('{"loss": "1_0", "accuracy": true}', []),
        ('{"loss": NaN, "timestamp": 1e300}', [("loss", "NaN")]),
    ],
)
def test_json_lines_may_hold_text_or_numbers(line: str, found: list[tuple[str, str]]) -> None:
    assert read(line, {"source": {"fileSystemPath": {"format": "JSON"}}}) == found


def test_a_leading_time_belongs_to_the_reading() -> None:
    (reading,) = parser({}, ["loss"])("2026-01-01T00:00:01Z loss=1")
    assert reading.time == dt.datetime(2026, 1, 1, 0, 0, 1, tzinfo=dt.UTC)


def test_a_summary_keeps_the_words_the_values_were_written_in() -> None:
    readings = [Reading("loss", text) for text in ("0.50", "1e-1", "nan", "0.30")]
    assert summarise(readings) == {"loss": Summary("1e-1", "0.50", "0.30")}


@given(st.lists(st.floats(), min_size=1), st.integers(0, 20))
def test_summing_up_in_parts_is_summing_up_at_once(values: list[float], cut: int) -> None:
    readings = [Reading("loss", repr(value)) for value in values]
    parts = summarise(readings[cut:], summarise(readings[:cut]))
    assert parts == summarise(readings)
    numbers = [value for value in values if math.isfinite(value)]
    if numbers:
        assert float(parts["loss"].min) == min(numbers)
        assert float(parts["loss"].max) == max(numbers)


def test_the_strategy_chooses_which_value_counts() -> None:
    metric = {"name": "loss", "min": "0.1", "max": "0.9", "latest": "0.5"}
    objective = {"type": "minimize", "objectiveMetricName": "loss"}
    assert strategy_value(objective, {"metrics": [metric]}) == 0.1
    latest = {**objective, "metricStrategies": [{"name": "loss", "value": "latest"}]}
    assert strategy_value(latest, {"metrics": [metric]}) == 0.5
    assert strategy_value(objective, {"metrics": [{**metric, "min": "unavailable"}]}) is None


def test_a_value_that_is_no_finite_number_is_no_value() -> None:
    metric = {"name": "loss", "min": "nan", "max": "inf", "latest": "inf"}
    objective = {"type": "minimize", "objectiveMetricName": "loss"}
    assert strategy_value(objective, {"metrics": [metric]}) is None
    assert strategy_value({**objective, "type": "maximize"}, {"metrics": [metric]}) is None


def test_filters_are_read_as_upstream_reads_them_and_take_no_time_to_fail() -> None:
    collector = {"source": {"filter": {"metricsFormat": [r"(\w+\s?)+=(x+x+)+y"]}}}
    assert read("loss=" + "x" * 50_000, collector) == []


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_lines_are_whole_however_they_arrive() -> None:
    batches = [batch async for batch in lines_of(chunks(b"a", b"b\nc\n", b"d"))]
    assert batches == [["ab", "c"], ["d"]]


async def test_a_line_without_end_is_cut_off_and_the_next_one_is_read() -> None:
    endless = [b"x" * 50_000] * 100
    batches = [batch async for batch in lines_of(chunks(*endless, b"y\nloss=1\n"))]
    lines = [line for batch in batches for line in batch]
    assert lines[-1] == "loss=1"
    assert sum(map(len, lines)) < 100_000


def test_a_million_readings_are_filed_as_some_ten_thousands() -> None:
    places = [place for place in range(1_000_000) if is_filed(place)]
    assert len(places) == 28_000
    assert places[:10_000] == list(range(10_000))


def test_samples_are_read_from_an_exposition() -> None:
    text = """# TYPE loss gauge
loss 0.25
loss_total 3
accuracy{split="test"} 0.5 1700000000000
accuracy{split="train"} NaN
broken
"""
    wanted = ["loss", 'accuracy{split="test"}']
    found = [(r.name, r.value) for r in samples(text, wanted, dt.datetime.now(dt.UTC))]
    assert found == [("loss", "0.25"), ('accuracy{split="test"}', "0.5")]
