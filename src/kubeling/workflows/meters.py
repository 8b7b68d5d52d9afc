"""``metrics.prometheus``: the numbers that Workflows and templates give.

Pure: from what a template says and what its node came to, the samples to record. A sample is either
a number or, for metrics in real time, the moment from which seconds are counted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.expressions import ExpressionError, conditions
from kubeling.workflows.expressions.tags import Tag, parse
from kubeling.workflows.resources import Node
from kubeling.workflows.scope import Scope, Unresolved
from kubeling.workflows.variables import parameter_text

__all__ = ["MeterError", "Sample", "is_realtime", "node_scope", "samples", "workflow_scope"]

_LOCAL: Final = ("status", "duration", "exitCode", "resourcesDuration", "outputs")


class MeterError(Exception):
    """A metric cannot be given; the message becomes the condition ``MetricsError``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number for one series; ``operation`` is Set, Add, Sub or Observe."""

    name: str
    help: str
    kind: str
    labels: dict[str, str]
    operation: str
    value: float = 0.0
    since: dt.datetime | None = None
    buckets: tuple[float, ...] = field(default=())


def is_realtime(metric: Obj) -> bool:
    """Whether a metric is to be followed while its node runs."""
    return bool((metric.get("gauge") or {}).get("realtime"))


def workflow_scope(globals_: Scope, status: str, seconds: float) -> Scope:
    """What the Workflow's own metrics see."""
    scope = globals_.child({"status": status, "duration": f"{seconds:f}"})
    scope.values["workflow.status"] = status
    scope.values["workflow.duration"] = f"{seconds:f}"
    return _with_resources(scope)


def node_scope(globals_: Scope, node: Node, now: dt.datetime, begun: dt.datetime) -> Scope:
    """What the metrics of a node's template see."""
    until = parse_time(node.finished_at) if node.finished_at else now
    since = parse_time(node.started_at) if node.started_at else now
    values = {
        "status": node.phase,
        "duration": f"{(until - since).total_seconds():f}",
        "workflow.duration": f"{(now - begun).total_seconds():f}",
    }
    if node.children:
        values["retries"] = str(len(node.children) - 1)
    for parameter in node.inputs.parameters if node.inputs else ():
        values[f"inputs.parameters.{parameter.name}"] = parameter_text(parameter.value or "")
    if node.outputs is not None:
        if node.outputs.result is not None:
            values["outputs.result"] = node.outputs.result
        if node.outputs.exit_code:
            values["exitCode"] = node.outputs.exit_code
        for parameter in node.outputs.parameters:
            values[f"outputs.parameters.{parameter.name}"] = parameter_text(parameter.value or "")
    return _with_resources(globals_.child(values))


def samples(
    metrics: list[Obj], scope: Scope, realtime: Mapping[str, dt.datetime | float], *, begin: bool
) -> Iterator[Sample | MeterError]:
    """The samples at a node's beginning (only real time) or its end.

    ``realtime`` says since when a variable counts, or what it has come to.
    """
    for metric in metrics:
        if begin and not is_realtime(metric):
            continue
        try:
            sample = _sample(metric, scope, realtime)
        except (MeterError, Unresolved, ExpressionError, ValueError) as problem:
            yield MeterError(f"metric '{metric.get('name')}': {problem}")
        else:
            if sample is not None:
                yield sample


def _sample(
    metric: Obj, scope: Scope, realtime: Mapping[str, dt.datetime | float]
) -> Sample | None:
    when = metric.get("when")
    if when and not conditions.evaluate(_shown(when, scope)):
        return None
    kind = next(k for k in ("gauge", "histogram", "counter") if metric.get(k))
    said: Obj = metric[kind]
    bare = Sample(
        _shown(metric.get("name") or "", scope),
        _shown(metric.get("help") or "", scope),
        kind,
        {
            entry["key"]: _shown(entry.get("value") or "", scope)
            for entry in metric.get("labels") or ()
        },
        {"histogram": "Observe", "counter": "Add"}.get(kind, said.get("operation") or "Set"),
    )
    if is_realtime(metric):
        variable = str(said.get("value") or "").strip().removeprefix("{{").removesuffix("}}")
        found = realtime.get(variable.strip())
        if found is None:
            raise MeterError(f"'{variable.strip()}' is not available as a real time metric")
        return (
            replace(bare, value=found) if isinstance(found, float) else replace(bare, since=found)
        )
    value = float(_shown(parameter_text(said.get("value", "")), scope))
    buckets = tuple(float(bound) for bound in said.get("buckets") or ())
    return replace(bare, value=value, buckets=buckets)


def _shown(text: str, scope: Scope) -> str:
    """The text with the tags of metrics, whose first words mean nothing elsewhere, replaced."""
    parts: list[str] = []
    for part in parse(text):
        if isinstance(part, Tag) and part.body.partition(".")[0] in _LOCAL:
            value = scope.lookup(part.body)
            if value is None:
                raise Unresolved(f"failed to resolve {part.text}")
            parts.append(str(value))
        else:
            parts.append(part if isinstance(part, str) else scope.render(part.text))
    return "".join(parts)


def _with_resources(scope: Scope) -> Scope:
    for name in ("cpu", "memory"):
        scope.values.setdefault(f"resourcesDuration.{name}", "0")
    return scope
