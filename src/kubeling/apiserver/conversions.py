"""Kinds that are served in two groups or versions but stored once."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj

__all__ = ["autoscaler_from_v2", "autoscaler_to_v2", "event_from_core", "event_to_core"]

_TO_CORE: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_FROM_CORE: Final = {core: modern for modern, core in _TO_CORE.items()}


def event_to_core(event: Obj) -> Obj:
    """An ``events.k8s.io/v1`` Event as the core group spells it."""
    return {**_renamed(event, _TO_CORE), "apiVersion": "v1"}


def event_from_core(event: Obj) -> Obj:
    """A core Event as ``events.k8s.io/v1`` spells it."""
    return {**_renamed(event, _FROM_CORE), "apiVersion": "events.k8s.io/v1"}


def _renamed(event: Obj, names: dict[str, str]) -> Obj:
    return {names.get(key, key): value for key, value in event.items()}


_KEPT: Final = "autoscaling.alpha.kubernetes.io/metrics"
"""Where the first version keeps what it has no fields for, as upstream."""


def autoscaler_to_v2(autoscaler: Obj) -> Obj:
    """A HorizontalPodAutoscaler of ``autoscaling/v1`` with its one target as a metric."""
    spec = dict(autoscaler.get("spec") or {})
    target = spec.pop("targetCPUUtilizationPercentage", None)
    annotations = dict(autoscaler["metadata"].get("annotations") or {})
    kept: Obj = msgspec.json.decode(annotations.pop(_KEPT, "{}"))
    if target is not None:
        spec["metrics"] = [_cpu_metric(target), *kept.pop("metrics", [])]
    metadata = {**autoscaler["metadata"], "annotations": annotations}
    if not annotations:
        del metadata["annotations"]
    converted = {**autoscaler, "apiVersion": "autoscaling/v2", "metadata": metadata}
    return {**converted, "spec": {**spec, **kept}}


def autoscaler_from_v2(autoscaler: Obj) -> Obj:
    """A HorizontalPodAutoscaler as ``autoscaling/v1`` shows it."""
    spec, status = dict(autoscaler.get("spec") or {}), autoscaler.get("status") or {}
    others = []
    for metric in spec.pop("metrics", None) or ():
        utilization = _cpu_utilization(metric)
        if utilization is not None and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = utilization
        else:
            others.append(metric)
    kept: Obj = {"metrics": others} if others else {}
    if behavior := spec.pop("behavior", None):
        kept["behavior"] = behavior
    metadata = dict(autoscaler["metadata"])
    if kept:
        text = msgspec.json.encode(kept).decode()
        metadata["annotations"] = {**(metadata.get("annotations") or {}), _KEPT: text}
    shown = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
    return {
        **autoscaler,
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": {key: status[key] for key in shown if key in status},
    }


def _cpu_metric(percentage: Any) -> Obj:
    target = {"type": "Utilization", "averageUtilization": percentage}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _cpu_utilization(metric: Obj) -> Any:
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    return (resource.get("target") or {}).get("averageUtilization")
