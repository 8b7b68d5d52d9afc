"""One entry of an autoscaler's ``spec.metrics``: the replicas it asks for, and its status.

Messages nest as upstream's do, from the API that failed to the autoscaler's condition.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final, Protocol

from kubeling.engine.workloads.replica_calculator import (
    Answer,
    MetricError,
    PodMetric,
    Tolerances,
    milli,
    per_pod_replicas,
    replicas_by_ratio,
    replicas_by_usage,
    replicas_by_utilization,
)
from kubeling.kube import selectors
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import format_quantity, parse_quantity

__all__ = ["MetricUnavailable", "Proposal", "Readings", "Target", "propose", "tolerances_of"]

_FIELDS: Final = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


class MetricUnavailable(Exception):
    """A metric cannot be used: the condition's reason, and the words for the summary of all."""

    def __init__(self, reason: str, message: str, summary: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Proposal:
    """The replicas one metric asks for, its name in messages, and its current value."""

    replicas: int
    metric: str
    status: Obj


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled: its pods as selected and as they are, its wanted and present replicas."""

    namespace: str
    selector: str
    pods: Sequence[Obj]
    wanted: int
    present: int
    tolerances: Tolerances
    now: dt.datetime


class Readings(Protocol):
    """Where measurements come from; methods raise :class:`MetricError`."""

    async def resource(
        self, namespace: str, selector: str, resource: str, container: str
    ) -> dict[str, PodMetric]: ...

    async def pods(
        self, namespace: str, selector: str, metric: str, metric_selector: str
    ) -> dict[str, PodMetric]: ...

    async def object(self, namespace: str, described: Obj, metric: str, selector: str) -> int: ...

    async def external(self, namespace: str, metric: str, selector: str) -> list[int]: ...


def tolerances_of(spec: Obj) -> Tolerances:
    """The autoscaler's own tolerances, or the cluster's 10%."""
    behavior = spec.get("behavior") or {}

    def tolerance(direction: str) -> float:
        given = (behavior.get(direction) or {}).get("tolerance")
        return 0.1 if given is None else float(parse_quantity(given))

    return Tolerances(tolerance("scaleDown"), tolerance("scaleUp"))


async def propose(metric: Obj, target: Target, readings: Readings) -> Proposal:
    """What the metric asks for; raises :class:`MetricUnavailable`."""
    kind = metric["type"]
    body: Obj = metric[_FIELDS[kind]]
    reason = f"FailedGet{kind}Metric"
    try:
        match kind:
            case "Resource" | "ContainerResource":
                return await _resource(kind, body, target, readings)
            case "Pods":
                return await _pods(body, target, readings)
            case "Object":
                return await _object(body, target, readings)
            case _:
                return await _external(body, target, readings)
    except MetricError as error:
        raise MetricUnavailable(reason, str(error), f"{_summary(kind, body)}: {error}") from None


def _summary(kind: str, body: Obj) -> str:
    match kind:
        case "Resource":
            return f"failed to get {body['name']} resource metric value"
        case "ContainerResource":
            return f"failed to get {body['container']} container metric value"
        case "External":
            return f"failed to get {body['metric']['name']} external metric value"
        case _:
            return f"failed to get {kind.lower()} metric value"


async def _resource(kind: str, body: Obj, target: Target, readings: Readings) -> Proposal:
    resource, container = body["name"], body.get("container", "")
    goal = body["target"]
    percent = goal.get("averageUtilization")
    if goal.get("averageValue") is None and percent is None:
        raise MetricError(
            "invalid resource metric source: neither an average utilization target nor an average "
            "value (usage) target was set"
        )
    raw = goal.get("averageValue") is not None
    try:
        answer = await _resource_answer(resource, container, goal, target, readings)
    except MetricError as error:
        what = "usage" if raw else "utilization"
        raise MetricError(f"failed to get {resource} {what}: {error}") from None
    current: Obj = {"averageValue": _shown(resource, answer.average)}
    title = f"{resource} resource"
    if not raw:
        current["averageUtilization"] = answer.percent
        inside = "container " if kind == "ContainerResource" else ""
        title = f"{resource} {inside}resource utilization (percentage of request)"
    status: Obj = {"name": resource, "current": current}
    if container:
        status["container"] = container
    return Proposal(answer.replicas, title, {"type": kind, _FIELDS[kind]: status})


async def _resource_answer(
    resource: str, container: str, goal: Obj, target: Target, readings: Readings
) -> Answer:
    try:
        metrics = await readings.resource(
            target.namespace, target.selector, resource, container
        )  # fmt: skip
    except MetricError as error:
        raise MetricError(f"unable to get metrics for resource {resource}: {error}") from None
    if goal.get("averageValue") is not None:
        return replicas_by_usage(
            target.wanted, target.pods, metrics, resource, milli(goal["averageValue"]),
            target.tolerances, target.now,
        )  # fmt: skip
    return replicas_by_utilization(
        target.wanted, target.pods, metrics, resource, container,
        int(goal["averageUtilization"]), target.tolerances, target.now,
    )  # fmt: skip


async def _pods(body: Obj, target: Target, readings: Readings) -> Proposal:
    metric = body["metric"]
    try:
        metrics = await readings.pods(
            target.namespace, target.selector, metric["name"], _selector(metric)
        )
    except MetricError as error:
        raise MetricError(f"unable to get metric {metric['name']}: {error}") from None
    answer = replicas_by_usage(
        target.wanted, target.pods, metrics, "", milli(body["target"]["averageValue"]),
        target.tolerances, target.now,
    )  # fmt: skip
    status = {"metric": metric, "current": {"averageValue": _shown("", answer.average)}}
    title = f"pods metric {metric['name']}"
    return Proposal(answer.replicas, title, {"type": "Pods", "pods": status})


async def _object(body: Obj, target: Target, readings: Readings) -> Proposal:
    metric, described, goal = body["metric"], body["describedObject"], body["target"]
    value, average = goal.get("value"), goal.get("averageValue")
    if value is None and average is None:
        raise MetricError(
            "invalid object metric source: neither a value target nor an average value target "
            "was set"
        )
    try:
        usage = await readings.object(
            target.namespace, described, metric["name"], _selector(metric)
        )  # fmt: skip
    except MetricError as error:
        where = f"{described['kind']} {target.namespace}/{described['name']}"
        prefix = "" if value is not None else f"failed to get {metric['name']} object metric: "
        text = f"{prefix}unable to get metric {metric['name']}: {error} on {where}"
        raise MetricError(text) from None
    replicas, current = _shared(usage, value, average, target)
    title = f"{described['kind']} metric {metric['name']}"
    if value is None:
        title = f"external metric {metric['name']}({_in_go(metric.get('selector'))})"
    status = {"describedObject": described, "metric": metric, "current": current}
    return Proposal(replicas, title, {"type": "Object", "object": status})


async def _external(body: Obj, target: Target, readings: Readings) -> Proposal:
    metric, goal = body["metric"], body["target"]
    value, average = goal.get("value"), goal.get("averageValue")
    if value is None and average is None:
        raise MetricError(
            "invalid external metric source: neither a value target nor an average value target "
            "was set"
        )
    shown = _in_go(metric.get("selector"))
    try:
        series = await readings.external(target.namespace, metric["name"], _selector(metric))
    except MetricError as error:
        title = metric["name"]
        failed = f"{title} external metric" if average is not None else f"external metric {title}"
        where = f"{target.namespace}/{title}/{shown}"
        text = f"failed to get {failed}: unable to get external metric {where}: {error}"
        raise MetricError(text) from None
    usage = sum(series)
    replicas, current = _shared(usage, None if average is not None else value, average, target)
    status = {"metric": metric, "current": current}
    name = f"external metric {metric['name']}({shown})"
    return Proposal(replicas, name, {"type": "External", "external": status})


def _shared(usage: int, value: Any, average: Any, target: Target) -> tuple[int, Obj]:
    """One value against a target for all pods together, or for each."""
    if value is not None:
        ratio = usage / milli(value)
        replicas = replicas_by_ratio(target.wanted, ratio, target.pods, target.tolerances)
        return replicas, {"value": _shown("", usage)}
    answer = per_pod_replicas(target.present, usage, milli(average), target.tolerances)
    return answer.replicas, {"averageValue": _shown("", answer.average)}


def _selector(metric: Obj) -> str:
    given = metric.get("selector")
    return str(selectors.from_object(given)) if given is not None else ""


def _shown(resource: str, thousandths: int) -> str:
    value = Decimal(thousandths) / 1000
    if resource == "memory" and value >= 1024:
        return format_quantity(value.to_integral_value(ROUND_CEILING), binary=True)
    return format_quantity(value)


def _in_go(selector: Mapping[str, Any] | None) -> str:
    """A selector as upstream's messages show one."""
    if selector is None:
        return "nil"
    given = sorted((selector.get("matchLabels") or {}).items())
    labels = "".join(f"{key}: {value}," for key, value in given)
    terms = "".join(
        f"LabelSelectorRequirement{{Key:{term['key']},Operator:{term['operator']},"
        f"Values:[{' '.join(term.get('values') or ())}],}},"
        for term in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{terms}}},}}"
    )
