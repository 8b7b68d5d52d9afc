"""How long steps of graphs take, for Prometheus; of an answer that streams, until its head."""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, name, namespace
from kubeling.monitoring.registry import Registry

__all__ = ["StepTimings"]

_NAME: Final = "kubeling_inference_graph_step_seconds"


class StepTimings:
    """A histogram by graph, step and code."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        registry.declare(_NAME, "Seconds that a graph's steps took to answer.", "histogram")

    def add(self, graph: Obj, path: str, status: int, seconds: float) -> None:
        """Counts one answer of a step."""
        labels = {
            "namespace": namespace(graph),
            "inferencegraph": name(graph),
            "step": path,
            "code": str(status),
        }
        self._registry.observe(_NAME, labels, seconds)

    def forget(self, graph: Obj) -> None:
        """Drops what was counted of a graph that is gone."""
        labels = {"namespace": namespace(graph), "inferencegraph": name(graph)}
        self._registry.forget(_NAME, labels)
