"""From measured values to a number of replicas. Pure.

The rules are those of upstream's ``replica_calculator.go``: the average over the pods that count,
against the target. Pods that are not ready or have no measurement are left out at first; should the
rest ask for a change, they are put back in the way that dampens it, and a change whose direction
that reverses is not made. All values are whole thousandths, as upstream's are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from math import ceil
from typing import Final, NamedTuple

from kubeling.engine.workloads.podstate import is_ready, phase
from kubeling.kube.objects import Obj, deletion_requested, name, parse_time
from kubeling.kube.quantities import Quantity, parse_quantity

__all__ = [
    "Answer",
    "MetricError",
    "PodMetric",
    "Tolerances",
    "milli",
    "per_pod_replicas",
    "replicas_by_ratio",
    "replicas_by_usage",
    "replicas_by_utilization",
]

_CPU_INITIALIZATION: Final = dt.timedelta(minutes=5)
_INITIAL_READINESS: Final = dt.timedelta(seconds=30)
_MOST: Final = 2**31 - 1


class MetricError(Exception):
    """The replicas cannot be computed from what was measured."""


@dataclass(frozen=True, slots=True)
class PodMetric:
    """What one pod was measured at, in thousandths, over the ``window`` seconds before."""

    value: int
    timestamp: dt.datetime
    window: float = 60.0


class Tolerances(NamedTuple):
    """By how much use may differ from its target before anything is done."""

    down: float = 0.1
    up: float = 0.1

    def include(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Answer(NamedTuple):
    """Replicas, and the present average: in thousandths and, for utilization, in percent."""

    replicas: int
    average: int
    percent: int = 0


class _Groups(NamedTuple):
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def replicas_by_utilization(
    current: int,
    pods: Sequence[Obj],
    metrics: Mapping[str, PodMetric],
    resource: str,
    container: str,
    target: int,
    tolerances: Tolerances,
    now: dt.datetime,
) -> Answer:
    """For a target in percent of what the pods request."""
    groups, values = _counted(pods, metrics, resource, now)
    requests = {name(pod): _requested(pod, resource, container) for pod in pods}

    def percent(of: Mapping[str, int]) -> int:
        asked = sum(requests[pod] for pod in of if pod in requests)
        if not asked:
            raise MetricError("no metrics returned matched known pods")
        return sum(v for pod, v in of.items() if pod in requests) * 100 // asked

    used = percent(values)
    known = [value for pod, value in values.items() if pod in requests]
    assumed = {pod: requests[pod] * max(100, target) // 100 for pod in groups.missing}
    replicas = _replicas(current, groups, values, assumed, lambda of: percent(of) / target,
                         tolerances)  # fmt: skip
    return Answer(replicas, sum(known) // len(known), used)


def replicas_by_usage(
    current: int,
    pods: Sequence[Obj],
    metrics: Mapping[str, PodMetric],
    resource: str,
    target: int,
    tolerances: Tolerances,
    now: dt.datetime,
) -> Answer:
    """For a target that the average pod should have; ``resource`` is empty for other metrics."""
    groups, values = _counted(pods, metrics, resource, now)

    def average(of: Mapping[str, int]) -> int:
        return sum(of.values()) // len(of)

    assumed = dict.fromkeys(groups.missing, target)
    replicas = _replicas(current, groups, values, assumed, lambda of: average(of) / target,
                         tolerances)  # fmt: skip
    return Answer(replicas, average(values))


def replicas_by_ratio(
    current: int, ratio: float, pods: Sequence[Obj], tolerances: Tolerances
) -> int:
    """For one value that all pods share; from zero, the ratio itself says how many are needed."""
    if current == 0:
        return min(ceil(ratio), _MOST)
    if tolerances.include(ratio):
        return current
    if not pods:
        raise MetricError(
            "unable to calculate ready pods: no pods returned by selector while calculating "
            "replica count"
        )
    ready = sum(phase(pod) == "Running" and is_ready(pod) for pod in pods)
    return min(ceil(ratio * ready), _MOST)


def per_pod_replicas(present: int, usage: int, target: int, tolerances: Tolerances) -> Answer:
    """For one value that is shared out among the pods, ``target`` to each."""
    if present == 0:
        # Nobody has a share yet, so any use at all asks for pods.
        return Answer(min(ceil(usage / target), _MOST), 0)
    replicas = present
    if not tolerances.include(usage / (target * present)):
        replicas = min(ceil(usage / target), _MOST)
    return Answer(replicas, ceil(usage / present))


def milli(quantity: str | Quantity) -> int:
    """A quantity in whole thousandths, rounded up."""
    value = quantity if isinstance(quantity, Decimal) else parse_quantity(quantity)
    return int((value * 1000).to_integral_value(ROUND_CEILING))


def _counted(
    pods: Sequence[Obj], metrics: Mapping[str, PodMetric], resource: str, now: dt.datetime
) -> tuple[_Groups, dict[str, int]]:
    if not pods:
        raise MetricError("no pods returned by selector while calculating replica count")
    groups = _group(pods, metrics, resource, now)
    left_out = groups.ignored | groups.unready
    values = {pod: metric.value for pod, metric in metrics.items() if pod not in left_out}
    if not values:
        raise MetricError(
            "did not receive metrics for targeted pods (pods might be unready)"
        )  # fmt: skip
    return groups, values


def _replicas(
    current: int,
    groups: _Groups,
    values: Mapping[str, int],
    assumed: Mapping[str, int],
    ratio_of: Callable[[Mapping[str, int]], float],
    tolerances: Tolerances,
) -> int:
    """``assumed`` is what pods without a measurement are taken to use when there are too many."""
    ratio = ratio_of(values)
    dampened = bool(groups.unready) and ratio > 1.0
    if not dampened and not groups.missing:
        return current if tolerances.include(ratio) else ceil(ratio * groups.ready)
    filled = dict(values)
    if ratio < 1.0:
        filled |= assumed
    elif ratio > 1.0:
        filled |= dict.fromkeys(groups.missing, 0)
    if dampened:
        filled |= dict.fromkeys(groups.unready, 0)
    again = ratio_of(filled)
    if tolerances.include(again) or (ratio - 1.0) * (again - 1.0) < 0:
        return current
    replicas = ceil(again * len(filled))
    return current if (again - 1.0) * (replicas - current) < 0 else replicas


def _group(
    pods: Iterable[Obj], metrics: Mapping[str, PodMetric], resource: str, now: dt.datetime
) -> _Groups:
    ready, unready, missing, ignored = 0, set(), set(), set()
    for pod in pods:
        title = name(pod)
        if deletion_requested(pod) or phase(pod) == "Failed":
            ignored.add(title)
        elif phase(pod) == "Pending":
            unready.add(title)
        elif title not in metrics:
            missing.add(title)
        elif resource == "cpu" and _starting(pod, metrics[title], now):
            unready.add(title)
        else:
            ready += 1
    return _Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _starting(pod: Obj, metric: PodMetric, now: dt.datetime) -> bool:
    """Whether the pod's CPU use is that of its start, which says nothing about its load."""
    status = pod.get("status") or {}
    entry = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    if entry is None or not status.get("startTime"):
        return True
    started = parse_time(status["startTime"])
    changed = parse_time(entry.get("lastTransitionTime") or status["startTime"])
    if started + _CPU_INITIALIZATION > now:
        whole = changed + dt.timedelta(seconds=metric.window)
        return bool(entry["status"] == "False") or metric.timestamp < whole
    return bool(entry["status"] == "False") and started + _INITIAL_READINESS > changed


def _requested(pod: Obj, resource: str, container: str) -> int:
    spec = pod["spec"]
    whole = ((spec.get("resources") or {}).get("requests") or {}) if not container else {}
    if resource in whole:
        return milli(whole[resource])
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    found = [c for c in (*spec["containers"], *sidecars) if container in ("", c["name"])]
    if not found:
        raise MetricError(f"container {container} not found in Pod {name(pod)}")
    total = 0
    for entry in found:
        requests = (entry.get("resources") or {}).get("requests") or {}
        if resource not in requests:
            raise MetricError(
                f"missing request for {resource} in container {entry['name']} of Pod {name(pod)}"
            )
        total += milli(requests[resource])
    return total
