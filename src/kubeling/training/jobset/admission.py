"""What is filled into JobSets when they are written, and what is refused (upstream's webhook)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, deep_copy, mapping, mappings
from kubeling.kube.resources import Resource
from kubeling.training.jobset.objects import groups, replicas
from kubeling.training.jobset.resources import JOB_SETS

__all__ = ["admissions"]

_LABEL: Final = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_POD_SUFFIX: Final = "-abcde"
_IMMUTABLE: Final = ("successPolicy", "failurePolicy", "startupPolicy", "network", "coordinator",
                     "managedBy", "volumeClaimPolicies")  # fmt: skip
_MUTABLE: Final = ("nodeSelector", "tolerations", "schedulingGates", "affinity")
"""Of a pod, while the JobSet is suspended: whatever decides where and when it is scheduled."""


def admissions() -> dict[Resource, Admission]:
    """The admission of JobSets."""
    return {JOB_SETS: Admission(_default, _validate, _warn)}


def _default(obj: Obj, _: AdmissionRequest) -> None:
    """Before the schema is checked: whatever has another type than it should is left alone."""
    spec = obj.setdefault("spec", {})
    if not isinstance(spec, dict):
        return
    spec.setdefault("successPolicy", {"operator": "All"})
    spec.setdefault("startupPolicy", {"startupPolicyOrder": "AnyOrder"})
    network = mapping(spec.setdefault("network", {}))
    network.setdefault("enableDNSHostnames", True)
    network.setdefault("publishNotReadyAddresses", True)
    for group in mappings(spec.get("replicatedJobs")):
        job = mapping(mapping(group.get("template")).get("spec"))
        job.setdefault("completionMode", "Indexed")
        mapping(mapping(job.get("template")).get("spec")).setdefault("restartPolicy", "OnFailure")
    if isinstance(policy := spec.get("failurePolicy"), dict):
        policy.setdefault("restartStrategy", "Recreate")
        policy.setdefault("maxRestarts", 0)
        for index, rule in enumerate(mappings(policy.get("rules"))):
            rule.setdefault("name", f"failurePolicyRule{index}")


def _validate(obj: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    errors = [*_names(obj), *_references(obj["spec"])]
    return errors if old is None else [*errors, *_changes(obj, old)]


def _warn(obj: Obj, _: AdmissionRequest) -> Iterable[str]:
    for key in obj["metadata"].get("annotations") or ():
        if key.startswith("alpha.jobset.sigs.k8s.io/"):
            yield f"metadata.annotations[{key}]: exclusive placement is not acted upon"


def _names(obj: Obj) -> Iterator[FieldError]:
    """Jobs, pods and host names are made of the JobSet's and the groups' names."""
    own = obj["metadata"].get("name", "")
    for index, group in enumerate(groups(obj)):
        path = f"spec.replicatedJobs[{index}].name"
        job = f"{own}-{group['name']}-{max(replicas(group) - 1, 0)}"
        spec = group["template"].get("spec") or {}
        pod = f"{job}-{max(int(spec.get('completions') or 1) - 1, 0)}{_POD_SUFFIX}"
        for kind, made in (("job", job), ("pod", pod)):
            if not _LABEL.match(made):
                message = (
                    f"{kind} names made of it, such as {made}, must be lowercase DNS-1035 labels "
                    "of at most 63 characters; use shorter names"
                )
                yield FieldError(path, "Invalid value", message, group["name"])
                break


def _references(spec: Obj) -> Iterator[FieldError]:
    """Groups named elsewhere in the spec exist; those that others wait for come first."""
    known: list[str] = []
    for index, group in enumerate(spec.get("replicatedJobs") or ()):
        path = f"spec.replicatedJobs[{index}]"
        if group["name"] in known:
            yield FieldError(f"{path}.name", "Duplicate value", "", group["name"])
        for place, need in enumerate(group.get("dependsOn") or ()):
            if need["name"] not in known:
                message = "must name a replicatedJob that comes before this one"
                where = f"{path}.dependsOn[{place}].name"
                yield FieldError(where, "Invalid value", message, need["name"])
        if group.get("dependsOn") and _in_order(spec):
            message = "may not be used together with the startup policy InOrder"
            yield FieldError(f"{path}.dependsOn", "Forbidden", message)
        known.append(group["name"])
    for path, named in _mentions(spec):
        if named not in known:
            message = f"must name a replicatedJob: {', '.join(known) or 'there is none'}"
            yield FieldError(path, "Invalid value", message, named)


def _in_order(spec: Obj) -> bool:
    return bool((spec.get("startupPolicy") or {}).get("startupPolicyOrder") == "InOrder")


def _mentions(spec: Obj) -> Iterator[tuple[str, str]]:
    success = spec.get("successPolicy") or {}
    for index, named in enumerate(success.get("targetReplicatedJobs") or ()):
        yield f"spec.successPolicy.targetReplicatedJobs[{index}]", named
    for place, rule in enumerate((spec.get("failurePolicy") or {}).get("rules") or ()):
        for index, named in enumerate(rule.get("targetReplicatedJobs") or ()):
            yield f"spec.failurePolicy.rules[{place}].targetReplicatedJobs[{index}]", named
    if coordinator := spec.get("coordinator"):
        yield "spec.coordinator.replicatedJob", coordinator["replicatedJob"]


def _changes(obj: Obj, old: Obj) -> Iterator[FieldError]:
    before, after = old["spec"], obj["spec"]
    for field in _IMMUTABLE:
        if before.get(field) != after.get(field):
            yield FieldError(f"spec.{field}", "Forbidden", "the field is immutable")
    loose = bool(before.get("suspend") or after.get("suspend"))
    if _fixed(before, loose) != _fixed(after, loose):
        message = "the field is immutable"
        if not loose:
            message += ", except where pods are scheduled while the JobSet is suspended"
        yield FieldError("spec.replicatedJobs", "Forbidden", message)


def _fixed(spec: Obj, loose: bool) -> list[Obj]:
    """The groups without what may be changed."""
    found: list[Obj] = deep_copy(spec.get("replicatedJobs") or [])
    for group in found if loose else ():
        template = (group["template"].get("spec") or {}).get("template") or {}
        template.pop("metadata", None)
        for field in _MUTABLE:
            (template.get("spec") or {}).pop(field, None)
    return found
