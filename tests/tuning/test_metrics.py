"""Metrics as trials print them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.tuning.metrics import Reading, Summary, parser, strategy_value, summarise


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


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"loss": "0.3", "epoch": 1}', [("loss", "0.3")]),
        ('{"loss": 0.3}', [("loss", "0.3")]),
        ("starting up", []),
        ("[1, 2]", []),
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


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.integers(0, 20))
def test_summing_up_in_parts_is_summing_up_at_once(values: list[float], cut: int) -> None:
    readings = [Reading("loss", repr(value)) for value in values]
    parts = summarise(readings[cut:], summarise(readings[:cut]))
    assert parts == summarise(readings)
    assert float(parts["loss"].min) == min(values)


def test_the_strategy_chooses_which_value_counts() -> None:
    metric = {"name": "loss", "min": "0.1", "max": "0.9", "latest": "0.5"}
    objective = {"type": "minimize", "objectiveMetricName": "loss"}
    assert strategy_value(objective, {"metrics": [metric]}) == 0.1
    latest = {**objective, "metricStrategies": [{"name": "loss", "value": "latest"}]}
    assert strategy_value(latest, {"metrics": [metric]}) == 0.5
    assert strategy_value(objective, {"metrics": [{**metric, "min": "unavailable"}]}) is None
