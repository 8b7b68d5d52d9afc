"""What a JobSet is made of: Jobs, the Service by which their pods are found, and claims.

Names and labels are upstream's, because people and SDKs select by them: Jobs are called
``<jobset>-<group>-<index>``, pods get that as the start of their host name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, name, namespace, new_object, uid
from kubeling.kube.resources import JOBS, PERSISTENT_VOLUME_CLAIMS, SERVICES

__all__ = [
    "JOBSET_NAME",
    "REPLICATED_JOB",
    "RESTART_ATTEMPT",
    "claims",
    "groups",
    "jobs_of_group",
    "replicas",
    "service",
    "subdomain",
]

_PREFIX: Final = "jobset.sigs.k8s.io"
JOBSET_NAME: Final = f"{_PREFIX}/jobset-name"
REPLICATED_JOB: Final = f"{_PREFIX}/replicatedjob-name"
RESTART_ATTEMPT: Final = f"{_PREFIX}/restart-attempt"


def groups(jobset: Obj) -> list[Obj]:
    """The replicated jobs, in order."""
    found: list[Obj] = jobset["spec"].get("replicatedJobs") or []
    return found


def replicas(group: Obj) -> int:
    """How many Jobs a group has."""
    return int(group.get("replicas", 1))


def subdomain(jobset: Obj) -> str:
    """The Service's name, and so the domain of the pods' host names; empty without host names."""
    network = jobset["spec"].get("network") or {}
    if network.get("enableDNSHostnames") is False:
        return ""
    return str(network.get("subdomain") or name(jobset))


def service(jobset: Obj) -> Obj | None:
    """The headless Service under which the pods find each other, by default before they are ready.

    ``None`` where the JobSet asks for no host names.
    """
    domain = subdomain(jobset)
    if not domain:
        return None
    network = jobset["spec"].get("network") or {}
    return new_object(
        SERVICES,
        domain,
        namespace(jobset),
        labels={JOBSET_NAME: name(jobset)},
        owner=jobset,
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": network.get("publishNotReadyAddresses", True),
            "selector": {JOBSET_NAME: name(jobset)},
        },
    )


def claims(jobset: Obj) -> list[Obj]:
    """The claims of ``volumeClaimPolicies``; those that are kept have no owner."""
    found = []
    for policy in jobset["spec"].get("volumeClaimPolicies") or ():
        goes = (policy.get("retentionPolicy") or {}).get("whenDeleted") == "Delete"
        for template in policy["templates"]:
            metadata = template.get("metadata") or {}
            found.append(
                new_object(
                    PERSISTENT_VOLUME_CLAIMS,
                    _claim(jobset, metadata.get("name", "")),
                    namespace(jobset),
                    labels={**(metadata.get("labels") or {}), JOBSET_NAME: name(jobset)},
                    annotations=metadata.get("annotations"),
                    owner=jobset if goes else None,
                    spec=deep_copy(template.get("spec") or {}),
                )
            )
    return found


def jobs_of_group(jobset: Obj, group: Obj) -> list[Obj]:
    """The Jobs of one group, for the present attempt."""
    return [_job(jobset, group, index) for index in range(replicas(group))]


def _job(jobset: Obj, group: Obj, index: int) -> Obj:
    template: Obj = group["template"]
    metadata = template.get("metadata") or {}
    labels, annotations = _labels(jobset, group, index), _coordinator(jobset)
    spec: Obj = deep_copy(template.get("spec") or {})
    spec["suspend"] = bool(jobset["spec"].get("suspend"))
    _mark(spec["template"], {**labels, **annotations}, annotations)
    pod = spec["template"].setdefault("spec", {})
    if domain := subdomain(jobset):
        pod["subdomain"] = domain
    for container in pod.get("containers") or ():
        # A failure is then told with the end of the log, in the pod and so in the JobSet.
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    _add_claims(jobset, pod)
    return new_object(
        JOBS,
        f"{name(jobset)}-{group['name']}-{index}",
        namespace(jobset),
        labels={**(metadata.get("labels") or {}), **labels, **annotations},
        annotations={**(metadata.get("annotations") or {}), **annotations} or None,
        owner=jobset,
        spec=spec,
    )


def _mark(template: Obj, labels: dict[str, str], annotations: dict[str, str]) -> None:
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    if annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}


def _labels(jobset: Obj, group: Obj, index: int) -> dict[str, str]:
    everyone = groups(jobset)
    before = everyone[: next(i for i, g in enumerate(everyone) if g["name"] == group["name"])]
    kin = group.get("groupName", "default")
    own = f"{name(jobset)}-{group['name']}-{index}"

    def count(members: list[Obj]) -> int:
        return sum(replicas(member) for member in members)

    def related(members: list[Obj]) -> list[Obj]:
        return [member for member in members if member.get("groupName", "default") == kin]

    values: dict[str, Any] = {
        "jobset-name": name(jobset),
        "jobset-uid": uid(jobset),
        "replicatedjob-name": group["name"],
        "replicatedjob-replicas": replicas(group),
        "global-replicas": count(everyone),
        "job-index": index,
        "job-global-index": count(before) + index,
        "job-key": hashlib.sha1(f"{namespace(jobset)}/{own}".encode()).hexdigest(),
        "restart-attempt": int((jobset.get("status") or {}).get("restarts") or 0),
        "group-name": kin,
        "group-replicas": count(related(everyone)),
        "job-group-index": count(related(before)) + index,
    }
    return {f"{_PREFIX}/{key}": str(value) for key, value in values.items()}


def _coordinator(jobset: Obj) -> dict[str, str]:
    """Where the coordinating pod is found, as a label and an annotation."""
    wanted = jobset["spec"].get("coordinator")
    if not wanted:
        return {}
    host = (
        f"{name(jobset)}-{wanted['replicatedJob']}-{wanted.get('jobIndex', 0)}"
        f"-{wanted.get('podIndex', 0)}"
    )
    return {f"{_PREFIX}/coordinator": f"{host}.{subdomain(jobset)}"}


def _add_claims(jobset: Obj, pod: Obj) -> None:
    """Gives a pod the JobSet's claims that its containers mount."""
    mounted = set(_mounts(pod))
    volumes = pod.get("volumes") or []
    taken = {volume.get("name") for volume in volumes}
    for policy in jobset["spec"].get("volumeClaimPolicies") or ():
        for template in policy["templates"]:
            wanted = (template.get("metadata") or {}).get("name", "")
            if wanted in mounted and wanted not in taken:
                source = {"claimName": _claim(jobset, wanted)}
                pod["volumes"] = volumes = [
                    *volumes,
                    {"name": wanted, "persistentVolumeClaim": source},
                ]


def _mounts(pod: Obj) -> Iterator[str]:
    for containers in ("containers", "initContainers"):
        for container in pod.get(containers) or ():
            for mount in container.get("volumeMounts") or ():
                yield mount.get("name", "")


def _claim(jobset: Obj, template: str) -> str:
    return f"{template}-{name(jobset)}"
