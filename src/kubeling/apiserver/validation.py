"""What a schema cannot say about built-in kinds: references within an object, immutability, names.

The messages are Kubernetes' (``pkg/apis/*/validation``), because people search for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.selectors import from_object

__all__ = ["validate_builtin"]

Errors = Iterator[FieldError]

_LABEL: Final = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_ENV: Final = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
_IMMUTABLE: Final = "field is immutable"


def validate_builtin(new: Obj, old: Obj | None) -> list[FieldError]:
    """What is wrong with a built-in object beyond its schema."""
    group = new.get("apiVersion", "").rpartition("/")[0]
    check = _KINDS.get((group, new.get("kind", "")))
    return list(check(new, old)) if check else []


def _pod(new: Obj, old: Obj | None) -> Errors:
    spec = new.get("spec") or {}
    yield from _pod_spec(spec, "spec", ("Always", "OnFailure", "Never"))
    if old is not None:
        yield from _pod_update(spec, old.get("spec") or {})


def _pod_update(new: Obj, old: Obj) -> Errors:
    mutable = {"activeDeadlineSeconds", "tolerations", "nodeName", "ephemeralContainers"}
    mutable |= {"terminationGracePeriodSeconds", "schedulingGates"}
    changed = {
        key
        for key in new.keys() | old.keys()
        if key not in mutable | {"containers", "initContainers"} and new.get(key) != old.get(key)
    }
    for key in ("containers", "initContainers"):
        if _without_images(new.get(key)) != _without_images(old.get(key)):
            changed.add(key)
    if changed:
        allowed = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
            "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds`"
        )
        yield FieldError("spec", "Forbidden", f"{allowed} (changed: {', '.join(sorted(changed))})")


def _without_images(containers: Any) -> Any:
    return [
        {k: v for k, v in c.items() if k not in ("image", "imagePullPolicy", "resources")}
        for c in containers or ()
    ]


def _pod_spec(spec: Obj, path: str, restart_policies: tuple[str, ...]) -> Errors:
    containers = spec.get("containers") or []
    if not containers:
        yield FieldError(f"{path}.containers", "Required value", "")
    volumes = {v.get("name") for v in spec.get("volumes") or ()}
    yield from _unique_names(spec.get("volumes") or [], f"{path}.volumes")
    policy = spec.get("restartPolicy")
    if policy not in restart_policies:
        listed = ", ".join(f'"{choice}"' for choice in restart_policies)
        message = f"supported values: {listed}"
        yield FieldError(f"{path}.restartPolicy", "Unsupported value", message, policy)
    seen: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or ()):
            where = f"{path}.{field}[{index}]"
            yield from _container(container, where, volumes, field == "initContainers")
            if container.get("name") in seen:
                yield FieldError(f"{where}.name", "Duplicate value", "", container["name"])
            seen.add(container.get("name", ""))


def _container(container: Obj, path: str, volumes: set[Any], initial: bool) -> Errors:
    name = container.get("name", "")
    if not _LABEL.match(name) or len(name) > 63:
        message = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
            "'-', and must start and end with an alphanumeric character"
        )
        yield FieldError(f"{path}.name", "Invalid value", message, name)
    if not container.get("image"):
        yield FieldError(f"{path}.image", "Required value", "")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            where = f"{path}.volumeMounts[{index}].name"
            yield FieldError(where, "Not found", "", mount.get("name"))
    for index, env in enumerate(container.get("env") or ()):
        if not _ENV.match(env.get("name", "")):
            message = "a valid environment variable name must not be empty or contain spaces or '='"
            yield FieldError(f"{path}.env[{index}].name", "Invalid value", message, env.get("name"))
        if env.get("value") and env.get("valueFrom"):
            message = "may not be specified when `value` is not empty"
            yield FieldError(f"{path}.env[{index}].valueFrom", "Invalid value", message, "")
    for index, port in enumerate(container.get("ports") or ()):
        number = port.get("containerPort", 0)
        if not 1 <= number <= 65535:
            message = "must be between 1 and 65535, inclusive"
            where = f"{path}.ports[{index}].containerPort"
            yield FieldError(where, "Invalid value", message, number)
    if initial and container.get("restartPolicy") not in (None, "Always"):
        message = 'supported values: "Always"'
        value = container["restartPolicy"]
        yield FieldError(f"{path}.restartPolicy", "Unsupported value", message, value)
    yield from _resources(container.get("resources") or {}, f"{path}.resources")


def _resources(resources: Obj, path: str) -> Errors:
    from kubeling.kube.quantities import parse_quantity

    limits = resources.get("limits") or {}
    for name, value in (resources.get("requests") or {}).items():
        if name in limits and parse_quantity(value) > parse_quantity(limits[name]):
            message = f"must be less than or equal to {name} limit of {limits[name]}"
            yield FieldError(f"{path}.requests", "Invalid value", message, value)


def _unique_names(items: list[Obj], path: str) -> Errors:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.get("name") in seen:
            yield FieldError(f"{path}[{index}].name", "Duplicate value", "", item["name"])
        seen.add(item.get("name", ""))


def _template(
    new: Obj, old: Obj | None, policies: tuple[str, ...] = ("Always",), selector: bool = True
) -> Errors:
    spec = new.get("spec") or {}
    template = spec.get("template") or {}
    if selector:
        yield from _selector(spec, template)
        if old is not None and (old.get("spec") or {}).get("selector") != spec.get("selector"):
            yield FieldError("spec.selector", "Invalid value", _IMMUTABLE, spec.get("selector"))
    yield from _pod_spec(template.get("spec") or {}, "spec.template.spec", policies)


def _selector(spec: Obj, template: Obj) -> Errors:
    selector = spec.get("selector")
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector:
        yield FieldError("spec.selector", "Required value", "")
    elif not from_object(selector).matches(labels):
        message = "`selector` does not match template `labels`"
        yield FieldError("spec.template.metadata.labels", "Invalid value", message, labels)


def _replicas(new: Obj) -> Errors:
    replicas = (new.get("spec") or {}).get("replicas", 1)
    if replicas < 0:
        message = "must be greater than or equal to 0"
        yield FieldError("spec.replicas", "Invalid value", message, replicas)


def _workload(new: Obj, old: Obj | None) -> Errors:
    yield from _replicas(new)
    yield from _template(new, old)


def _job(new: Obj, old: Obj | None) -> Errors:
    spec = new.get("spec") or {}
    yield from _template(new, old, ("OnFailure", "Never"), selector=False)
    for field in ("parallelism", "completions", "backoffLimit"):
        if (spec.get(field) or 0) < 0:
            message = "must be greater than or equal to 0"
            yield FieldError(f"spec.{field}", "Invalid value", message, spec[field])
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        message = "when completion mode is Indexed"
        yield FieldError("spec.completions", "Required value", message)
    if old is not None:
        before = old.get("spec") or {}
        for field in ("completionMode", "selector"):
            if before.get(field) is not None and before.get(field) != spec.get(field):
                yield FieldError(f"spec.{field}", "Invalid value", _IMMUTABLE, spec.get(field))
        held = spec.get("suspend") or before.get("suspend")
        if not held and before.get("template") != spec.get("template"):
            yield FieldError("spec.template", "Invalid value", _IMMUTABLE)


def _cron_job(new: Obj, old: Obj | None) -> Errors:
    from croniter import croniter

    spec = new.get("spec") or {}
    schedule = spec.get("schedule", "")
    if not schedule.startswith("@") and not croniter.is_valid(schedule):
        message = "is not a cron schedule: five fields or a macro such as @hourly are expected"
        yield FieldError("spec.schedule", "Invalid value", message, schedule)


def _service(new: Obj, old: Obj | None) -> Errors:
    spec = new.get("spec") or {}
    kind = spec.get("type", "ClusterIP")
    if kind not in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"):
        message = 'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
        yield FieldError("spec.type", "Unsupported value", message, kind)
    ports = spec.get("ports") or []
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield FieldError("spec.ports", "Required value", "")
    for index, port in enumerate(ports):
        if not 1 <= port.get("port", 0) <= 65535:
            message = "must be between 1 and 65535, inclusive"
            where = f"spec.ports[{index}].port"
            yield FieldError(where, "Invalid value", message, port.get("port"))
        if len(ports) > 1 and not port.get("name"):
            yield FieldError(f"spec.ports[{index}].name", "Required value", "")
    if old is not None:
        before = (old.get("spec") or {}).get("clusterIP")
        if before and kind != "ExternalName" and before != spec.get("clusterIP"):
            message = "may not change once set"
            yield FieldError("spec.clusterIP", "Invalid value", message, spec.get("clusterIP"))


def _immutable_data(new: Obj, old: Obj | None) -> Errors:
    if old is None or not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield FieldError("immutable", "Forbidden", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if new.get(field) != old.get(field):
            yield FieldError(field, "Forbidden", "field is immutable when `immutable` is set")


def _config_map(new: Obj, old: Obj | None) -> Errors:
    both = (new.get("data") or {}).keys() & (new.get("binaryData") or {}).keys()
    for key in sorted(both):
        yield FieldError(
            f"data[{key}]", "Invalid value", "duplicate of key present in binaryData", key
        )
    yield from _immutable_data(new, old)


def _secret(new: Obj, old: Obj | None) -> Errors:
    if old is not None and old.get("type") != new.get("type"):
        yield FieldError("type", "Invalid value", _IMMUTABLE, new.get("type"))
    yield from _immutable_data(new, old)


def _autoscaler(new: Obj, old: Obj | None) -> Errors:
    spec = new.get("spec") or {}
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if high < 1:
        message = "must be greater than 0"
        yield FieldError("spec.maxReplicas", "Invalid value", message, high)
    elif high < low:
        message = "must be greater than or equal to `minReplicas`"
        yield FieldError("spec.maxReplicas", "Invalid value", message, high)


def _claim(new: Obj, old: Obj | None) -> Errors:
    spec = new.get("spec") or {}
    if not spec.get("accessModes"):
        message = "at least 1 access mode is required"
        yield FieldError("spec.accessModes", "Required value", message)
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield FieldError("spec.resources[storage]", "Required value", "")


_KINDS: Final[dict[tuple[str, str], Callable[[Obj, Obj | None], Errors]]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "ConfigMap"): _config_map,
    ("", "Secret"): _secret,
    ("", "PersistentVolumeClaim"): _claim,
    ("apps", "Deployment"): _workload,
    ("apps", "ReplicaSet"): _workload,
    ("apps", "StatefulSet"): _workload,
    ("apps", "DaemonSet"): _workload,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
}
