"""What is seen from outside of commands that were forked instead of executed: two metrics."""

from __future__ import annotations

from kubeling.engine.templates import Templates
from kubeling.monitoring.registry import Registry

__all__ = ["publish_templates"]


def publish_templates(templates: Templates, metrics: Registry) -> None:
    """Has the platform's ``/metrics`` tell of them."""
    metrics.collect(
        "kubeling_python_commands_total",
        "Python commands of containers, by how they were started.",
        "counter",
        lambda: [
            ({"start": "executed"}, templates.executed),
            ({"start": "forked"}, templates.forked),
        ],
    )
    metrics.collect(
        "kubeling_python_templates",
        "Interpreters that are kept for Python commands to be forked from.",
        "gauge",
        lambda: [({}, templates.running)],
    )
