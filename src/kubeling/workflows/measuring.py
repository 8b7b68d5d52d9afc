"""When a Workflow's metrics are taken: as nodes begin, end and are tried again."""

from __future__ import annotations

from collections.abc import Iterable

from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.handover import Store
from kubeling.workflows.leaves import Leaves
from kubeling.workflows.meters import MeterError, Sample, node_scope, samples, workflow_scope
from kubeling.workflows.nodes import is_fulfilled
from kubeling.workflows.resources import Node, Phase
from kubeling.workflows.templates import Library, Resolved

__all__ = ["Measured"]


class Measured(Leaves):
    """Collects samples; ``metrics_error`` tells of the last that could not be had."""

    def __init__(self, workflow: Obj, spec: Obj, store: Store, library: Library) -> None:
        super().__init__(workflow, spec, store, library)
        status = workflow.get("status") or {}
        self.phase: Phase = status.get("phase") or ""
        self.started_at: str = status.get("startedAt") or ""
        self.metrics_error = ""
        self._meters: dict[str, list[Obj]] = {}

    def meter(self, node: Node, resolved: Resolved) -> None:
        """From now on, the node gives what its template says."""
        if metrics := (resolved.raw.get("metrics") or {}).get("prometheus"):
            self._meters[node.id] = metrics
            self.measure(node)

    def measure(self, node: Node) -> None:
        """Takes the numbers that a node gives at this moment of it."""
        metrics = self._meters.get(node.id)
        if not metrics:
            return
        if done := is_fulfilled(node):
            del self._meters[node.id]
        begun = parse_time(self.started_at)
        since = parse_time(node.started_at) if node.started_at else self.now
        until = parse_time(node.finished_at) if node.finished_at else self.now
        duration = (until - since).total_seconds() if done else since
        realtime = {"duration": duration, "workflow.duration": begun}
        scope = node_scope(self.globals, node, self.now, begun)
        self._keep(f"{node.id} {done}", samples(metrics, scope, realtime, begin=not done))

    def measure_workflow(self, *, begin: bool) -> None:
        """Takes the Workflow's own numbers, at its beginning or its end."""
        metrics: list[Obj] = (self.spec.get("metrics") or {}).get("prometheus") or []
        if not metrics or not self.started_at:
            return
        begun = parse_time(self.started_at)
        seconds = (self.now - begun).total_seconds()
        scope = workflow_scope(self.globals, "Pending" if begin else self.phase, seconds)
        realtime = {"workflow.duration": begun if begin else seconds}
        self._keep(f"{self.name} workflow {begin}", samples(metrics, scope, realtime, begin=begin))

    def _keep(self, moment: str, found: Iterable[Sample | MeterError]) -> None:
        for sample in found:
            if isinstance(sample, MeterError):
                self.metrics_error = str(sample)
                self.status_changed = True
            else:
                self._actions.measured.setdefault(moment, []).append(sample)
