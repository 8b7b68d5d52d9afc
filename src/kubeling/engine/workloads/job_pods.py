"""What a Job reads from one of its pods, and what it makes of its template. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.engine.workloads.podstate import generated_name, phase, pod_from_template
from kubeling.kube import objects
from kubeling.kube.objects import Obj, deletion_requested, name, parse_time

__all__ = [
    "INDEX",
    "TRACKING",
    "finished_time",
    "has_failed",
    "index_of",
    "is_terminating",
    "is_tracked",
    "job_pod",
    "replaces_only_failed",
    "tries_of",
]

INDEX: Final = "batch.kubernetes.io/job-completion-index"
TRACKING: Final = "batch.kubernetes.io/job-tracking"
_FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"
_IGNORED: Final = "batch.kubernetes.io/job-index-ignored-failure-count"
_LONGEST_NAME: Final = 58


def index_of(pod: Obj) -> int | None:
    """The completion index of an Indexed Job's pod."""
    value = objects.annotations(pod).get(INDEX)
    return int(value) if value is not None and value.isdigit() else None


def is_tracked(pod: Obj) -> bool:
    """Whether the pod is held until its Job has counted it."""
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def is_terminating(pod: Obj) -> bool:
    """Whether the pod was told to end and has not done so yet."""
    return deletion_requested(pod) and phase(pod) not in ("Succeeded", "Failed")


def replaces_only_failed(spec: Obj) -> bool:
    """Whether a pod that ends is waited for before another takes its place."""
    policy = spec.get("podReplacementPolicy")
    return policy == "Failed" or spec.get("podFailurePolicy") is not None


def has_failed(spec: Obj, pod: Obj) -> bool:
    """Whether the pod is a failure: one that was deleted is, unless its end is waited for."""
    if phase(pod) == "Failed":
        return True
    return is_terminating(pod) and not replaces_only_failed(spec)


def tries_of(pod: Obj) -> tuple[int, int]:
    """How often the index had failed before this pod: what counted, and what was ignored."""
    found = objects.annotations(pod)

    def number(key: str) -> int:
        value = found.get(key, "")
        return int(value) if value.isdigit() else 0

    return number(_FAILURES), number(_IGNORED)


def finished_time(pod: Obj) -> dt.datetime:
    """When the pod ended: by its containers, its readiness, or its deletion."""
    status = pod.get("status") or {}
    sidecars = {
        container["name"]
        for container in (pod.get("spec") or {}).get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    listed = [
        *(status.get("containerStatuses") or ()),
        *(s for s in status.get("initContainerStatuses") or () if s["name"] in sidecars),
    ]
    ends = [
        ((entry.get("state") or {}).get("terminated") or {}).get("finishedAt") for entry in listed
    ]
    known = [parse_time(end) for end in ends if end]
    if known and len(known) == len(ends):
        return max(known)
    for entry in status.get("conditions") or ():
        stamp = entry.get("lastTransitionTime")
        if stamp and entry["type"] == "Ready" and entry["status"] == "False":
            return parse_time(stamp)
    metadata = pod["metadata"]
    if deleted := metadata.get("deletionTimestamp"):
        grace = int(metadata.get("deletionGracePeriodSeconds") or 0)
        return parse_time(deleted) - dt.timedelta(seconds=grace)
    return parse_time(metadata["creationTimestamp"])


def job_pod(job: Obj, index: int | None = None, tries: tuple[int, int] | None = None) -> Obj:
    """A new pod of the Job's; an Indexed one is told its index, and how often that failed."""
    template = job["spec"]["template"]
    if index is None:
        pod = pod_from_template(template, job, generated_name(f"{name(job)}-"))
    else:
        marks = {INDEX: str(index)}
        if tries is not None:
            marks[_FAILURES] = str(tries[0])
            if tries[1]:
                marks[_IGNORED] = str(tries[1])
        pod = pod_from_template(
            template,
            job,
            generated_name(_base(name(job), index)),
            labels={INDEX: str(index)},
            annotations=marks,
        )
        pod["spec"]["hostname"] = f"{name(job)}-{index}"
        _tell_index(pod["spec"])
    finalizers = pod["metadata"].setdefault("finalizers", [])
    if TRACKING not in finalizers:
        finalizers.append(TRACKING)
    return pod


def _base(title: str, index: int) -> str:
    """The beginning of a pod's name; a long one is cut before its index."""
    end = f"-{index}-"
    return f"{title[: _LONGEST_NAME - len(end)]}{end}"


def _tell_index(spec: Obj) -> None:
    reference = {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": reference}}
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        env = container.get("env") or []
        if not any(entry["name"] == variable["name"] for entry in env):
            container["env"] = [*env, variable]
