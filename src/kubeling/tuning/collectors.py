"""The kinds of metrics collectors: where each finds a trial's metrics.

Four read a log: that of the primary container, of a sidecar of ours that prints what is in a file
or in event files, or of the user's own. Prometheus' endpoint is scraped, and what is pushed comes
over the API.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj

__all__ = [
    "COLLECTOR",
    "FILE_COLLECTOR",
    "REPORTED",
    "collector_kind",
    "log_container",
    "metric_names",
]

COLLECTOR: Final = "metrics-logger-and-collector"
"""The container whose log upstream's SDKs ask for, of StdOut and File."""
FILE_COLLECTOR: Final = "metrics-collector"
"""Upstream's name of the others."""
REPORTED: Final = frozenset({"Push", "PrometheusMetric", "Custom"})
"""The kinds whose metrics, or some of them, are in the store only."""


def collector_kind(trial: Obj) -> str:
    """How a trial's metrics are collected."""
    collector = (trial["spec"].get("metricsCollector") or {}).get("collector") or {}
    return str(collector.get("kind") or "StdOut")


def log_container(trial: Obj) -> str:
    """The container whose log holds a trial's metrics, or that is scraped."""
    match collector_kind(trial):
        case "File":
            return COLLECTOR
        case "TensorFlowEvent":
            return FILE_COLLECTOR
        case "Custom":
            custom = trial["spec"]["metricsCollector"]["collector"].get("customCollector") or {}
            return str(custom.get("name") or FILE_COLLECTOR)
    return str(trial["spec"]["primaryContainerName"])


def metric_names(trial: Obj) -> list[str]:
    """The metrics a trial is asked for, the objective first."""
    objective = trial["spec"].get("objective") or {}
    return [
        objective.get("objectiveMetricName", ""),
        *(objective.get("additionalMetricNames") or ()),
    ]
