"""The PodGroup of a TrainJob, for the scheduler that starts its pods together or not at all.

The runtime's ``podGroupPolicy`` names the scheduler; pods are marked in its way.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj, name, namespace, new_object
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity
from kubeling.kube.resources import Resource
from kubeling.training.gangs import POD_GROUPS, VOLCANO_POD_GROUPS
from kubeling.training.trainer.template import pod_spec

__all__ = ["mark", "pod_group"]


_QUEUE: Final = "scheduling.volcano.sh/queue-name"
_TIMEOUT: Final = 60


def mark(train_job: Obj, policy: Obj, template: Obj) -> None:
    """Says in every pod which group it is of."""
    for group in (template.get("spec") or {}).get("replicatedJobs") or ():
        pod = group["template"].setdefault("spec", {}).setdefault("template", {})
        metadata = pod.setdefault("metadata", {})
        if policy.get("coscheduling") is not None:
            metadata.setdefault("labels", {})["scheduling.x-k8s.io/pod-group"] = name(train_job)
        elif policy.get("volcano") is not None:
            own = metadata.setdefault("annotations", {})
            own["scheduling.k8s.io/group-name"] = name(train_job)


def pod_group(train_job: Obj, policy: Obj, jobset: Obj) -> tuple[Resource, Obj] | None:
    """The PodGroup, if the runtime wants one."""
    members, total = _totals(jobset)
    spec: dict[str, Any] = {"minMember": members, "minResources": total}
    if policy.get("coscheduling") is not None:
        wait = policy["coscheduling"].get("scheduleTimeoutSeconds", _TIMEOUT)
        resource, spec["scheduleTimeoutSeconds"] = POD_GROUPS, wait
    elif policy.get("volcano") is not None:
        resource = VOLCANO_POD_GROUPS
        if queue := (jobset["metadata"].get("annotations") or {}).get(_QUEUE):
            spec["queue"] = queue
        if topology := policy["volcano"].get("networkTopology"):
            spec["networkTopology"] = topology
        if priority := _priority(jobset):
            spec["priorityClassName"] = priority
    else:
        return None
    own, where = name(train_job), namespace(train_job)
    return resource, new_object(resource, own, where, owner=train_job, spec=spec)


def _totals(jobset: Obj) -> tuple[int, dict[str, str]]:
    """How many pods there are, and what they ask for together."""
    members, total = 0, dict[str, Quantity]()
    for group in jobset["spec"].get("replicatedJobs") or ():
        pods = int(group.get("replicas", 1)) * int(group["template"]["spec"].get("parallelism", 1))
        members += pods
        for container in pod_spec(group).get("containers") or ():
            resources = container.get("resources") or {}
            asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            for key, amount in asked.items():
                total[key] = total.get(key, Quantity(0)) + pods * parse_quantity(amount)
    return members, {
        key: format_quantity(total[key], binary=key in ("memory", "ephemeral-storage"))
        for key in sorted(total)
    }


def _priority(jobset: Obj) -> str:
    groups = jobset["spec"].get("replicatedJobs") or ()
    named = [str(pod_spec(group).get("priorityClassName") or "") for group in groups]
    return next(filter(None, named), "")
