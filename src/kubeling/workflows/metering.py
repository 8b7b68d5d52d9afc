"""Puts the numbers of Workflows into the platform's metrics, beside the controller's own.

Names and labels are upstream's (``docs/metrics.md``): everything begins with ``argo_workflows_``,
counters end in ``_total``. What one node has given is counted once, even if it is given again after
the execution was put together anew; after a restart of the platform, counting begins at zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from kubeling.component import Context
from kubeling.kube.objects import Obj, namespace, uid
from kubeling.kube.resources import PODS
from kubeling.monitoring.registry import DEFAULT_BUCKETS, Kind, MetricConflict
from kubeling.workflows.meters import Sample
from kubeling.workflows.pods import LABEL_WORKFLOW
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["Metering"]

_PREFIX: Final = "argo_workflows_"
_KINDS: Final[dict[str, Kind]] = {"gauge": "gauge", "counter": "counter", "histogram": "histogram"}
_DURATIONS: Final = tuple(0.001 * 2**power for power in range(14))


class Metering:
    """Records samples in the platform's registry."""

    def __init__(self, context: Context) -> None:
        self._registry = context.metrics
        self._clock = context.clock
        self._workflows = context.informers.of(WORKFLOWS)
        self._pods = context.informers.of(PODS)
        self._seen: dict[str, set[str]] = {}
        self._realtime: dict[str, set[tuple[str, tuple[tuple[str, str], ...]]]] = {}
        registry = self._registry
        registry.collect(
            f"{_PREFIX}gauge",
            "A gauge of the number of workflows currently in the cluster in each phase",
            "gauge",
            self._phases,
        )
        registry.collect(
            f"{_PREFIX}pods_gauge",
            "A gauge of the number of workflow created pods currently in the cluster in each phase",
            "gauge",
            self._pod_phases,
        )
        registry.declare(
            f"{_PREFIX}total_count",
            "Total number of Workflows that have entered each phase",
            "counter",
        )
        registry.declare(
            f"{_PREFIX}operation_duration_seconds",
            "Histogram of durations of operations",
            "histogram",
        )

    def entered(self, workflow: Obj, phase: str) -> None:
        """Counts a Workflow that has a new phase."""
        labels = {"phase": phase, "namespace": namespace(workflow)}
        self._registry.add(f"{_PREFIX}total_count", labels, 1)

    def operated(self, seconds: float) -> None:
        """Notes how long one reconciliation took."""
        name = f"{_PREFIX}operation_duration_seconds"
        self._registry.observe(name, {}, seconds, _DURATIONS)

    def record(self, workflow: Obj, given: Mapping[str, list[Sample]]) -> str:
        """Records what nodes (or moments of theirs) have given; returns what went wrong."""
        seen = self._seen.setdefault(uid(workflow), set())
        problem = ""
        for moment, listed in given.items():
            if moment in seen and all(sample.since is None for sample in listed):
                continue
            seen.add(moment)
            for sample in listed:
                try:
                    self._put(uid(workflow), sample)
                except MetricConflict as error:
                    problem = f"could not construct metric '{sample.name}': {error}"
        return problem

    def forget(self, workflow_uid: str) -> None:
        """Drops what was followed in real time for a Workflow that is no more."""
        self._seen.pop(workflow_uid, None)
        for name, labels in self._realtime.pop(workflow_uid, ()):
            self._registry.remove(name, dict(labels))

    def _put(self, owner: str, sample: Sample) -> None:
        registry = self._registry
        name = _PREFIX + sample.name + ("_total" if sample.kind == "counter" else "")
        registry.declare(name, sample.help, _KINDS[sample.kind])
        if (since := sample.since) is not None:
            begun, clock = since, self._clock
            registry.set(name, sample.labels, lambda: (clock.now() - begun).total_seconds())
            self._realtime.setdefault(owner, set()).add((name, tuple(sample.labels.items())))
        elif sample.operation == "Observe":
            registry.observe(name, sample.labels, sample.value, sample.buckets or DEFAULT_BUCKETS)
        elif sample.operation in ("Add", "Sub"):
            signed = sample.value if sample.operation == "Add" else -sample.value
            registry.add(name, sample.labels, signed)
        else:
            registry.set(name, sample.labels, sample.value)

    def _phases(self) -> Iterator[tuple[Mapping[str, str], float]]:
        found = Counter(
            (workflow.get("status") or {}).get("phase") or "Pending"
            for workflow in self._workflows.list()
        )
        for phase in ("Pending", "Running", "Succeeded", "Failed", "Error"):
            yield {"phase": phase}, found[phase]

    def _pod_phases(self) -> Iterator[tuple[Mapping[str, str], float]]:
        found = Counter(
            str((pod.get("status") or {}).get("phase") or "Pending")
            for pod in self._pods.list()
            if LABEL_WORKFLOW in (pod["metadata"].get("labels") or {})
        )
        for phase, count in found.items():
            yield {"phase": phase}, count
