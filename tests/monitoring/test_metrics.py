"""What is counted is written as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from kubeling.monitoring.registry import Registry


def test_counts_and_times_are_read_by_prometheus() -> None:
    metrics = Registry()
    metrics.declare("test_things_total", "Things.", "counter")
    metrics.declare("test_seconds", "Seconds.", "histogram")
    metrics.add("test_things_total", {"kind": 'a "b"\\c\n'}, 2)
    metrics.add("test_things_total", {"kind": 'a "b"\\c\n'}, 1)
    for value in (0.001, 0.005, 0.3, 60.0):
        metrics.observe("test_seconds", {"kind": "x"}, value)
    found = {family.name: family for family in text_string_to_metric_families(metrics.render())}
    (sample,) = found["test_things"].samples
    assert (sample.value, sample.labels) == (3, {"kind": 'a "b"\\c\n'})
    counts = {
        sample.labels.get("le", sample.name): sample.value
        for sample in found["test_seconds"].samples
    }
    assert counts["0.005"] == 2
    assert counts["0.25"] == 2
    assert counts["0.5"] == 3
    assert counts["+Inf"] == counts["test_seconds_count"] == 4
