"""Rules of pods, and of the templates that pods are made from."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from kubeling.apiserver.validation.containers import container
from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    at_least,
    between,
    choice,
    dns_label,
    dns_subdomain,
    object_labels,
    required,
    spec_of,
)
from kubeling.apiserver.validation.security import pod_security
from kubeling.apiserver.validation.volumes import volumes
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["POD_RULES", "RESTART_POLICIES", "pod_template"]

RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_MAX_INT: Final = 2**31 - 1
_CHANGEABLE: Final = frozenset(
    {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds",
     "schedulingGates"}
)  # fmt: skip
_CONTAINER_LISTS: Final = ("initContainers", "containers")


def _pod(new: Obj, old: Obj | None) -> Errors:
    yield from _spec(spec_of(new), "spec", RESTART_POLICIES)
    if old is not None:
        yield from _update(spec_of(new), spec_of(old))


def pod_template(
    template: Obj,
    path: str,
    restart_policies: Collection[str] = ("Always",),
    more_volumes: Iterable[str] = (),
) -> Errors:
    """A template; ``more_volumes`` are those its pods get from elsewhere."""
    yield from object_labels(template, f"{path}.metadata")
    yield from _spec(spec_of(template), f"{path}.spec", restart_policies, more_volumes)


def _spec(
    spec: Obj, path: str, restart_policies: Collection[str], more_volumes: Iterable[str] = ()
) -> Errors:
    yield from required(spec, path, "containers")
    yield from volumes(spec.get("volumes") or [], f"{path}.volumes")
    yield from choice(spec, path, "restartPolicy", restart_policies)
    named = {volume.get("name", "") for volume in spec.get("volumes") or ()}
    yield from _containers(spec, path, named | set(more_volumes))
    yield from _names(spec, path)
    yield from at_least(spec, path, "terminationGracePeriodSeconds")
    yield from between(spec, path, "activeDeadlineSeconds", 1, _MAX_INT)
    yield from _dns(spec, path)
    yield from pod_security(spec, path)
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration(toleration, f"{path}.tolerations[{index}]")
    for index, spread in enumerate(spec.get("topologySpreadConstraints") or ()):
        where = f"{path}.topologySpreadConstraints[{index}]"
        yield from at_least(spread, where, "maxSkew", least=1)
        yield from choice(spread, where, "whenUnsatisfiable", ("DoNotSchedule", "ScheduleAnyway"))


def _containers(spec: Obj, path: str, mountable: Collection[str]) -> Errors:
    seen: set[str] = set()
    for field in _CONTAINER_LISTS:
        for index, found in enumerate(spec.get(field) or ()):
            where = f"{path}.{field}[{index}]"
            yield from container(found, where, mountable, initial=field == "initContainers")
            yield from _resize_policy(found, where, spec.get("restartPolicy"))
            if found.get("name") in seen:
                yield FieldError(f"{where}.name", "Duplicate value", "", found["name"])
            seen.add(found.get("name", ""))


def _resize_policy(found: Obj, path: str, restart_policy: str | None) -> Errors:
    for index, policy in enumerate(found.get("resizePolicy") or ()):
        where = f"{path}.resizePolicy[{index}]"
        yield from choice(policy, where, "resourceName", ("cpu", "memory"))
        yield from choice(policy, where, "restartPolicy", ("NotRequired", "RestartContainer"))
        value = policy.get("restartPolicy")
        if restart_policy == "Never" and value == "RestartContainer":
            message = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            yield FieldError(f"{where}.restartPolicy", "Unsupported value", message, value)


def _names(spec: Obj, path: str) -> Errors:
    for field in ("serviceAccountName", "nodeName", "priorityClassName", "schedulerName"):
        if spec.get(field):
            yield from dns_subdomain(spec[field], f"{path}.{field}")
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            yield from dns_label(spec[field], f"{path}.{field}")


def _dns(spec: Obj, path: str) -> Errors:
    policies = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
    yield from choice(spec, path, "dnsPolicy", policies)
    servers = (spec.get("dnsConfig") or {}).get("nameservers")
    if spec.get("dnsPolicy") == "None" and not servers:
        message = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield FieldError(f"{path}.dnsConfig.nameservers", "Required value", message)


def _toleration(toleration: Obj, path: str) -> Errors:
    operator = toleration.get("operator") or "Equal"
    yield from choice(toleration, path, "operator", ("Equal", "Exists", ""))
    yield from choice(
        toleration, path, "effect", ("NoSchedule", "PreferNoSchedule", "NoExecute", "")
    )
    if not toleration.get("key") and operator != "Exists":
        message = (
            'operator must be Exists when `key` is empty, which means "match all values and all '
            'keys"'
        )
        yield FieldError(f"{path}.operator", "Invalid value", message, operator)
    if operator == "Exists" and toleration.get("value"):
        message = "value must be empty when `operator` is 'Exists'"
        yield FieldError(f"{path}.value", "Invalid value", message, toleration["value"])
    if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
        message = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield FieldError(f"{path}.effect", "Invalid value", message, toleration.get("effect"))


# Updates


def _update(new: Obj, old: Obj) -> Errors:
    for field in _CONTAINER_LISTS:
        if len(new.get(field) or ()) != len(old.get(field) or ()):
            message = "pod updates may not add or remove containers"
            yield FieldError(f"spec.{field}", "Forbidden", message)
            return
    changed = {
        field
        for field in new.keys() | old.keys()
        if field not in _CHANGEABLE
        and (
            _without_images(new.get(field)) != _without_images(old.get(field))
            if field in _CONTAINER_LISTS
            else new.get(field) != old.get(field)
        )
    }
    if changed:
        allowed = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
            "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow "
            "it to be set to 1 if it was previously negative)"
        )
        yield FieldError("spec", "Forbidden", f"{allowed} (changed: {', '.join(sorted(changed))})")
    if any(kept not in (new.get("tolerations") or []) for kept in old.get("tolerations") or ()):
        message = "existing toleration can not be modified except its tolerationSeconds"
        yield FieldError("spec.tolerations", "Forbidden", message)


def _without_images(containers: Any) -> list[Obj]:
    return [
        {k: v for k, v in found.items() if k not in ("image", "imagePullPolicy")}
        for found in containers or ()
    ]


def _pod_template(new: Obj, old: Obj | None) -> Errors:
    yield from pod_template(new.get("template") or {}, "template", RESTART_POLICIES)


POD_RULES: Final[Checks] = {("", "Pod"): _pod, ("", "PodTemplate"): _pod_template}
