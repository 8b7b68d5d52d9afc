"""The columns of what runs pods: sets, jobs and autoscalers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from kubeling.apiserver.columns.column import (
    AGE,
    Column,
    Columns,
    age,
    age_of,
    computed,
    get,
    number,
    selector,
    text,
    timed,
)
from kubeling.apiserver.columns.pods import has_condition
from kubeling.kube.durations import human_duration
from kubeling.kube.objects import Obj, parse_time

__all__ = ["WORKLOAD_COLUMNS"]

_SHOWN_METRICS: Final = 2


def _containers(*path: str) -> tuple[Column, Column]:
    """The wide columns of the containers in the template at a path."""

    def listed(field: str) -> Callable[[Obj], str]:
        return lambda obj: ",".join(
            container.get(field, "")
            for container in get(obj, *path, "spec", "containers", default=[])
        )

    return computed("Containers", listed("name"), 1), computed("Images", listed("image"), 1)


def _wide(*path: str) -> tuple[Column, ...]:
    spec = computed("Selector", selector(*path[:-1], "selector"), 1)
    return (*_containers(*path), spec)


_TEMPLATE: Final = ("spec", "template")
_READY: Final = computed(
    "Ready",
    lambda obj: (
        f"{get(obj, 'status', 'readyReplicas', default=0)}/"
        f"{get(obj, 'spec', 'replicas', default=1)}"
    ),
)
_COUNTED: Final = (
    number("Desired", "spec", "replicas"),
    number("Current", "status", "replicas"),
    number("Ready", "status", "readyReplicas"),
    AGE,
    *_wide(*_TEMPLATE),
)

# Jobs


def _job_status(job: Obj) -> str:
    status = job.get("status") or {}
    for kind in ("Complete", "Failed"):
        if has_condition(status, kind):
            return kind
    if "deletionTimestamp" in job["metadata"]:
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if has_condition(status, kind):
            return kind
    return "Running"


def _job_completions(job: Obj) -> str:
    done = get(job, "status", "succeeded", default=0)
    completions = get(job, "spec", "completions", default=None)
    if completions is not None:
        return f"{done}/{completions}"
    parallelism = get(job, "spec", "parallelism", default=1)
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(job: Obj, now: dt.datetime) -> str:
    started = get(job, "status", "startTime", default=None)
    if not started:
        return ""
    ended = get(job, "status", "completionTime", default=None)
    if ended is None:
        return age_of(started, now)
    return human_duration((parse_time(ended) - parse_time(started)).total_seconds())


_JOB: Final = (
    computed("Status", _job_status),
    computed("Completions", _job_completions),
    timed("Duration", _job_duration),
    AGE,
    *_wide(*_TEMPLATE),
)
_CRON_JOB: Final = (
    text("Schedule", "spec", "schedule"),
    text("Timezone", "spec", "timeZone"),
    computed("Suspend", lambda obj: str(bool(get(obj, "spec", "suspend", default=False)))),
    computed("Active", lambda obj: len(get(obj, "status", "active", default=[])), type="integer"),
    age("Last Schedule", lambda obj: get(obj, "status", "lastScheduleTime"), never="<none>"),
    AGE,
    *_wide("spec", "jobTemplate", "spec", "template"),
)

# Autoscalers


def _targets(autoscaler: Obj) -> str:
    metrics = get(autoscaler, "spec", "metrics", default=[])
    current = get(autoscaler, "status", "currentMetrics", default=[])
    cells = [
        _target(metric, current[index] if index < len(current) else {})
        for index, metric in enumerate(metrics)
    ]
    more = len(cells) - _SHOWN_METRICS
    listed = ", ".join(cells[:_SHOWN_METRICS]) or "<none>"
    return f"{listed} + {more} more..." if more > 0 else listed


def _target(metric: Obj, current: Obj) -> str:
    kind = metric.get("type", "")
    field = kind[:1].lower() + kind[1:]
    source, now = metric.get(field) or {}, get(current, field, "current", default={})
    target = source.get("target") or {}
    of_resource = kind in ("Resource", "ContainerResource")
    label = f"{source.get('name', '')}: " if of_resource else ""
    if of_resource and target.get("averageUtilization") is not None:
        have = now.get("averageUtilization")
        shown = "<unknown>" if have is None else f"{have}%"
        return f"{label}{shown}/{target['averageUtilization']}%"
    per_pod = target.get("averageValue") is not None
    name = "averageValue" if per_pod else "value"
    suffix = " (avg)" if per_pod and kind in ("Object", "External") else ""
    return f"{label}{_or_unknown(now.get(name))}/{target.get(name, '<unset>')}{suffix}"


def _or_unknown(value: Any) -> Any:
    return "<unknown>" if value in (None, "") else value


_AUTOSCALER: Final = (
    computed(
        "Reference",
        lambda obj: "/".join(get(obj, "spec", "scaleTargetRef", key) for key in ("kind", "name")),
    ),
    computed("Targets", _targets),
    computed("MinPods", lambda obj: str(get(obj, "spec", "minReplicas", default="<unset>"))),
    number("MaxPods", "spec", "maxReplicas"),
    number("Replicas", "status", "currentReplicas"),
    AGE,
)


def _first_target(autoscaler: Obj) -> str:
    wanted = get(autoscaler, "spec", "targetCPUUtilizationPercentage", default=None)
    if wanted is None:
        return "<none>"
    have = get(autoscaler, "status", "currentCPUUtilizationPercentage", default=None)
    return f"cpu: {'<unknown>' if have is None else f'{have}%'}/{wanted}%"


def _controller(obj: Obj) -> str:
    for owner in get(obj, "metadata", "ownerReferences", default=[]):
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner.get("kind", "").lower()
            return f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return "<none>"


WORKLOAD_COLUMNS: Final[Columns] = {
    ("apps", "Deployment"): (
        _READY,
        number("Up-to-date", "status", "updatedReplicas"),
        number("Available", "status", "availableReplicas"),
        AGE,
        *_wide(*_TEMPLATE),
    ),
    ("apps", "ReplicaSet"): _COUNTED,
    ("", "ReplicationController"): _COUNTED,
    ("apps", "StatefulSet"): (_READY, AGE, *_containers(*_TEMPLATE)),
    ("apps", "DaemonSet"): (
        number("Desired", "status", "desiredNumberScheduled"),
        number("Current", "status", "currentNumberScheduled"),
        number("Ready", "status", "numberReady"),
        number("Up-to-date", "status", "updatedNumberScheduled"),
        number("Available", "status", "numberAvailable"),
        computed("Node Selector", selector(*_TEMPLATE, "spec", "nodeSelector")),
        AGE,
        *_wide(*_TEMPLATE),
    ),
    ("apps", "ControllerRevision"): (
        computed("Controller", _controller),
        number("Revision", "revision"),
        AGE,
    ),
    ("", "PodTemplate"): (
        *(column._replace(priority=0) for column in _containers("template")),
        computed("Pod Labels", selector("template", "metadata", "labels")),
    ),
    ("batch", "Job"): _JOB,
    ("batch", "CronJob"): _CRON_JOB,
    ("autoscaling", "HorizontalPodAutoscaler"): (
        _AUTOSCALER[0],
        computed(
            "Targets",
            lambda obj: (
                _first_target(obj) if obj.get("apiVersion") == "autoscaling/v1" else _targets(obj)
            ),
        ),
        *_AUTOSCALER[2:],
    ),
    ("policy", "PodDisruptionBudget"): (
        text("Min Available", "spec", "minAvailable", default="N/A"),
        text("Max Unavailable", "spec", "maxUnavailable", default="N/A"),
        number("Allowed Disruptions", "status", "disruptionsAllowed"),
        AGE,
    ),
}
