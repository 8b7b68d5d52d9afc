"""What monitoring found, for Prometheus: by service, revision and feature.

As of the gateway's counts, the series are made at each scrape from what is known anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from kubeling.kube.objects import Key
from kubeling.monitoring.registry import Kind, Registry

__all__ = ["declare"]

Labels = dict[str, str]
Series = Iterator[tuple[Labels, float]]
Shown = Callable[[], Iterable[tuple[Key, str, Mapping[str, Any]]]]

_OF_FEATURES: Final = (
    ("psi", "Population stability index against the reference."),
    ("psi_p_value", "Chance of an index this large without drift."),
    ("ks", "Kolmogorov-Smirnov statistic against the reference."),
    ("ks_p_value", "Chance of a distance this large without drift."),
    ("chi2_p_value", "Chance of counts this different without drift, of a category."),
    ("missing", "Share of values that are missing."),
    ("out_of_range", "Share of values outside the reference's range."),
    ("new_values", "Values of a category that the reference does not have."),
)
_OF_QUALITY: Final = (
    ("accuracy", "Share of labelled predictions that were right."),
    ("recent_accuracy", "Share of the last labelled predictions that were right."),
    ("mean_absolute_error", "Mean absolute error of labelled predictions."),
    ("recent_mean_absolute_error", "Mean absolute error of the last labelled predictions."),
)


def declare(registry: Registry, shown: Shown) -> None:
    """Adds monitoring's metrics to those of the platform."""

    def add(
        title: str, help_: str, kind: Kind, read: Callable[[Mapping[str, Any]], Series]
    ) -> None:
        def collect() -> Series:
            for key, revision, report in shown():
                labels = {
                    "namespace": key.namespace,
                    "inferenceservice": key.name,
                    "revision": revision,
                }
                for more, value in read(report) if report else ():
                    yield {**labels, **more}, value

        registry.collect(f"kubeling_model_{title}", help_, kind, collect)

    add("drift_detected", "Whether requests drifted.", "gauge", _one("drift"))
    add("drift_share", "Share of features that drifted.", "gauge", _one("share_drifted"))
    add("sampled_rows", "Rows in the window.", "gauge", _one("window"))
    add("monitored_requests_total", "Requests of monitored models.", "counter", _one("requests"))
    for measure, help_ in _OF_FEATURES:
        add(f"drift_{measure}", help_, "gauge", _features(measure))
    for measure, help_ in _OF_QUALITY:
        add(measure, help_, "gauge", _within("quality", measure))
    add("labels_total", "Labels from feedback.", "counter", _within("quality", "labelled"))
    add(
        "outlier_share",
        "Share of recent rows unlike the usual.",
        "gauge",
        _within("outliers", "share"),
    )
    add("outlier_score", "Mean score of recent rows.", "gauge", _within("outliers", "score"))
    add("drift_changes_total", "Changes that online detectors found.", "counter", _changes)


def _one(title: str) -> Callable[[Mapping[str, Any]], Series]:
    def read(report: Mapping[str, Any]) -> Series:
        if title in report:
            yield {}, float(report[title])

    return read


def _within(part: str, title: str) -> Callable[[Mapping[str, Any]], Series]:
    def read(report: Mapping[str, Any]) -> Series:
        if title in report.get(part, {}):
            yield {}, float(report[part][title])

    return read


def _features(measure: str) -> Callable[[Mapping[str, Any]], Series]:
    def read(report: Mapping[str, Any]) -> Series:
        for title, found in report.get("features", {}).items():
            if measure in found:
                yield {"feature": title}, float(found[measure])
        predictions = report.get("predictions", {})
        if measure in predictions:
            yield {"feature": "(predictions)"}, float(predictions[measure])

    return read


def _changes(report: Mapping[str, Any]) -> Series:
    for title, found in report.get("online", {}).items():
        yield {"feature": title, "detector": found["detector"]}, float(found["count"])
