"""When failed pods make a Job or one of its indexes fail: limits, and rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kubeling.engine.workloads.job_pods import has_failed, index_of, is_tracked, tries_of
from kubeling.engine.workloads.podstate import phase
from kubeling.kube.objects import Obj, name, namespace

__all__ = [
    "Match",
    "counts_as_failure",
    "failed_indexes",
    "job_failure_message",
    "match_policy",
    "past_restart_limit",
]


class Match(NamedTuple):
    """What a Job's ``podFailurePolicy`` says of a failed pod: ``Count`` where no rule does."""

    action: str
    message: str = ""


def match_policy(spec: Obj, pod: Obj) -> Match:
    """The first rule that the pod matches."""
    for number, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules") or ()):
        if rule.get("onExitCodes"):
            what = _exit(rule["onExitCodes"], pod)
        else:
            what = _conditions(rule.get("onPodConditions") or (), pod)
        if what:
            action = str(rule["action"])
            return Match(action, f"{what} matching {action} rule at index {number}")
    return Match("Count")


def counts_as_failure(spec: Obj, pod: Obj) -> bool:
    """Whether a failed pod counts towards the limits."""
    return match_policy(spec, pod).action != "Ignore"


def job_failure_message(spec: Obj, pods: Iterable[Obj]) -> str:
    """Why a rule makes the Job fail at once, if one does."""
    if spec.get("podFailurePolicy") is None:
        return ""
    for pod in pods:
        if has_failed(spec, pod) and (match := match_policy(spec, pod)).action == "FailJob":
            return match.message
    return ""


def past_restart_limit(spec: Obj, pods: Sequence[Obj]) -> bool:
    """Whether containers that restart in their pods have done so too often."""
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(_restarts(pod) for pod in pods if phase(pod) in ("Running", "Pending"))
    limit = int(spec.get("backoffLimit", 6))
    return restarts > 0 if limit == 0 else restarts >= limit


def failed_indexes(spec: Obj, pods: Iterable[Obj]) -> set[int]:
    """The indexes that these pods show to have failed for good."""
    limit = int(spec["backoffLimitPerIndex"])
    found = set()
    for pod in pods:
        index = index_of(pod)
        if index is None or not is_tracked(pod) or not has_failed(spec, pod):
            continue
        action = match_policy(spec, pod).action
        if action == "FailIndex" or (action != "Ignore" and tries_of(pod)[0] >= limit):
            found.add(index)
    return found


def _exit(wanted: Obj, pod: Obj) -> str:
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(field) or ():
            ended = (entry.get("state") or {}).get("terminated")
            if not ended or wanted.get("containerName") not in (None, entry["name"]):
                continue
            code = int(ended.get("exitCode", 0))
            listed = code in (wanted.get("values") or ())
            if code != 0 and listed == (wanted["operator"] == "In"):
                title = f"{namespace(pod)}/{name(pod)}"
                return f"Container {entry['name']} for pod {title} failed with exit code {code}"
    return ""


def _conditions(patterns: Sequence[Any], pod: Obj) -> str:
    for entry in (pod.get("status") or {}).get("conditions") or ():
        for pattern in patterns:
            if (entry["type"], entry["status"]) == (pattern["type"], pattern.get("status", "True")):
                return f"Pod {namespace(pod)}/{name(pod)} has condition {entry['type']}"
    return ""


def _restarts(pod: Obj) -> int:
    status = pod.get("status") or {}
    return sum(
        int(entry.get("restartCount") or 0)
        for field in ("containerStatuses", "initContainerStatuses")
        for entry in status.get(field) or ()
    )
