"""Pods that start together or not at all: the PodGroup of a job, for the scheduler that heeds it.

Upstream makes PodGroups of Volcano or of scheduler-plugins, as a flag of the operator says. Here
the embedded node heeds those of scheduler-plugins itself, so every job has one there; on a cluster
the setting ``training.gang_scheduler`` names the scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity
from kubeling.kube.resources import Resource
from kubeling.training.companions import Companion
from kubeling.training.job import Replica, TrainingJob
from kubeling.training.resources import SchedulingPolicy
from kubeling.training.settings import GangScheduler

__all__ = ["POD_GROUPS", "VOLCANO_POD_GROUPS", "hand_over", "pod_group", "pod_groups"]

POD_GROUPS: Final = Resource("scheduling.x-k8s.io", "v1alpha1", "PodGroup", "podgroups")
VOLCANO_POD_GROUPS: Final = Resource("scheduling.volcano.sh", "v1beta1", "PodGroup", "podgroups")

_LABEL: Final = "scheduling.x-k8s.io/pod-group"
_SCHEDULERS: Final = {"scheduler-plugins": "scheduler-plugins-scheduler", "volcano": "volcano"}


def pod_groups(scheduler: GangScheduler) -> Resource | None:
    """The kind of PodGroup the scheduler heeds."""
    if scheduler == "none":
        return None
    return VOLCANO_POD_GROUPS if scheduler == "volcano" else POD_GROUPS


def pod_group(job: TrainingJob, scheduler: GangScheduler, *, wanted: bool) -> list[Companion]:
    """The PodGroup of a job, or that there must be none any more."""
    resource = pod_groups(scheduler)
    if resource is None:
        return []
    content = {"spec": _spec(job, scheduler)} if wanted else None
    return [Companion(resource, job.name, content, optional=scheduler == "auto")]


def hand_over(job: TrainingJob, replica: Replica, scheduler: GangScheduler, pod: Obj) -> None:
    """Marks a pod as one of the group, in its scheduler's way."""
    if scheduler == "none":
        return
    metadata, spec = pod["metadata"], pod["spec"]
    if scheduler == "volcano":
        group = {
            "scheduling.k8s.io/group-name": job.name,
            "volcano.sh/task-spec": replica.type.lower(),
        }
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **group}
    else:
        metadata["labels"] = {**(metadata.get("labels") or {}), _LABEL: job.name}
    if scheduler in _SCHEDULERS and not spec.get("schedulerName"):
        spec["schedulerName"] = _SCHEDULERS[scheduler]


def _spec(job: TrainingJob, scheduler: GangScheduler) -> dict[str, Any]:
    policy = job.run_policy.scheduling_policy or SchedulingPolicy()
    members = _members(job) if policy.min_available is None else policy.min_available
    found: dict[str, Any] = {"minMember": members}
    # The embedded node looks at the pods themselves.
    computed = {} if scheduler == "auto" else _resources(job, members)
    if resources := policy.min_resources or computed:
        found["minResources"] = resources
    if scheduler == "volcano":
        found["queue"] = policy.queue or "default"
        if policy.priority_class:
            found["priorityClassName"] = policy.priority_class
    elif policy.schedule_timeout_seconds is not None:
        found["scheduleTimeoutSeconds"] = policy.schedule_timeout_seconds
    return found


def _members(job: TrainingJob) -> int:
    """How many pods a job cannot begin without: all, or an elastic one's lower bound."""
    elastic = job.elastic_policy
    if elastic is None or elastic.min_replicas is None:
        return job.total
    workers = job.count("Worker")
    return job.total - workers + min(workers, elastic.min_replicas)


def _resources(job: TrainingJob, members: int) -> dict[str, str]:
    """What the first ``members`` pods ask for together."""
    total: dict[str, Quantity] = {}
    for replica in job.replicas()[:members]:
        spec = job.replica_specs[replica.type].template.get("spec") or {}
        for container in spec.get("containers") or ():
            resources: Mapping[str, Any] = container.get("resources") or {}
            asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            for key, amount in asked.items():
                total[key] = total.get(key, Quantity(0)) + parse_quantity(amount)
    return {key: format_quantity(amount) for key, amount in sorted(total.items())}
