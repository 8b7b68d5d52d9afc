"""Why a trial ended as it did, in words. Pure."""

from __future__ import annotations

from kubeling.kube.logtail import last_line
from kubeling.kube.objects import Obj, name
from kubeling.tuning.collectors import collector_kind, log_container, metric_names
from kubeling.tuning.metrics import UNAVAILABLE, strategy_value, text_value

__all__ = ["containers_ends", "missing_metric", "no_container"]


def missing_metric(trial: Obj, observation: Obj, problem: str) -> str:
    """Why an observation has no value of the objective; empty if it has one."""
    objective = trial["spec"]["objective"]
    if strategy_value(objective, observation) is not None or text_value(objective, observation):
        return ""
    metric = metric_names(trial)[0]
    found = next(m for m in observation["metrics"] if m["name"] == metric)
    if found["latest"] != UNAVAILABLE:
        return f'the metric "{metric}" was {found["latest"]}, which is no finite number'
    return f'the metric "{metric}" {_nowhere(trial, metric)}{f": {problem}" if problem else ""}'


def _nowhere(trial: Obj, metric: str) -> str:
    """Where a metric was looked for."""
    source = (trial["spec"].get("metricsCollector") or {}).get("source") or {}
    where = (source.get("fileSystemPath") or {}).get("path")
    match collector_kind(trial):
        case "Push":
            return "was not reported; call kubeflow.katib.report_metrics in the trial"
        case "PrometheusMetric":
            http_get = source.get("httpGet") or {}
            return f"was not exposed at port {http_get.get('port')}, path {http_get.get('path')}"
        case "TensorFlowEvent":
            return f"is no tag of the event files in {where}"
        case "File":
            return f"was not found in {where}; write lines such as {metric}=0.5"
    return (
        f'was not found in the log of container "{log_container(trial)}"; '
        f"print a line such as {metric}=0.5"
    )


def no_container(trial: Obj, pod: Obj) -> str:
    """Says so where a pod lacks the container whose log is to be read."""
    spec, wanted = pod.get("spec") or {}, log_container(trial)
    there = [c["name"] for kind in ("initContainers", "containers") for c in spec.get(kind) or ()]
    if wanted in there:
        return ""
    return f'pod {name(pod)} has no container "{wanted}" (it has: {", ".join(there)})'


def containers_ends(pod: Obj | None) -> str:
    """How the containers of a failed pod ended."""
    ends = []
    for entry in ((pod or {}).get("status") or {}).get("containerStatuses") or ():
        ended = (entry.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            text = f"container {entry['name']} exited with code {ended['exitCode']}"
            said = last_line(str(ended.get("message") or ""))
            ends.append(f"{text}: {said}" if said else text)
    return "; ".join(ends)
