"""Rules of containers: what a process is given, and how it is watched."""

from __future__ import annotations

import re
import signal
from collections.abc import Collection
from typing import Any, Final

from kubeling.apiserver.validation.rules import (
    Errors,
    at_least,
    choice,
    dns_label,
    exactly_one,
    port_name,
    port_number,
    quantities,
    required,
)
from kubeling.apiserver.validation.security import container_security
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity
from kubeling.kube.quotas import COUNTED

__all__ = ["PROTOCOLS", "container"]

PROTOCOLS: Final = ("TCP", "UDP", "SCTP")

_ENV_NAME: Final = re.compile(r"[ -<>-~]+")
_OWN_FIELDS: Final = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
     "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
     "status.podIPs", "metadata.labels", "metadata.annotations"}
)  # fmt: skip
_ONE_LABEL: Final = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_REAL_TIME: Final = re.compile(r"SIGRT(MIN(\+([1-9]|1[0-5]))?|MAX(-([1-9]|1[0-4]))?)")
_OF_CONTAINERS: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_OF_QUOTAS: Final = COUNTED | {
    "storage", "requests.storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
    "limits.cpu", "limits.memory", "limits.ephemeral-storage", "services.nodeports",
    "services.loadbalancers",
}  # fmt: skip
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def container(found: Obj, path: str, volumes: Collection[str], *, initial: bool) -> Errors:
    """One container; ``volumes`` are the names it can mount."""
    yield from dns_label(found.get("name", ""), f"{path}.name")
    yield from required(found, path, "image")
    yield from choice(found, path, "imagePullPolicy", ("Always", "IfNotPresent", "Never"))
    policies = ("File", "FallbackToLogsOnError")
    yield from choice(found, path, "terminationMessagePolicy", policies)
    yield from _ports(found, path)
    yield from _environment(found, path)
    yield from _mounts(found, path, volumes)
    yield from _resources(found.get("resources") or {}, f"{path}.resources")
    yield from _restarting(found, path, initial=initial)
    yield from container_security(found.get("securityContext") or {}, f"{path}.securityContext")
    for field in _PROBES:
        if field in found:
            yield from _probe(found[field], f"{path}.{field}", ready=field == "readinessProbe")
    yield from _lifecycle(found.get("lifecycle") or {}, f"{path}.lifecycle")


def _lifecycle(lifecycle: Obj, path: str) -> Errors:
    for field, hook in lifecycle.items():
        if isinstance(hook, dict):
            yield from _handler(hook, f"{path}.{field}")
    stop = lifecycle.get("stopSignal")
    if stop and stop not in signal.Signals.__members__ and not _REAL_TIME.fullmatch(stop):
        yield FieldError(f"{path}.stopSignal", "Unsupported value", "no such signal", stop)


def _restarting(found: Obj, path: str, *, initial: bool) -> Errors:
    policy = found.get("restartPolicy")
    yield from choice(found, path, "restartPolicy", ("Always", "OnFailure", "Never"))
    yield from _restart_rules(found, path)
    if not initial or policy == "Always":
        return
    for field in ("lifecycle", *_PROBES):
        if found.get(field):
            message = "may not be set for init containers without restartPolicy=Always"
            yield FieldError(f"{path}.{field}", "Forbidden", message)


def _restart_rules(found: Obj, path: str) -> Errors:
    rules = found.get("restartPolicyRules") or ()
    if rules and not found.get("restartPolicy"):
        message = "must specify restartPolicy when restart rules are used"
        yield FieldError(f"{path}.restartPolicy", "Required value", message)
    for index, rule in enumerate(rules):
        where = f"{path}.restartPolicyRules[{index}]"
        yield from choice(rule, where, "action", ("Restart",))
        codes = rule.get("exitCodes") or {}
        yield from required(rule, where, "action", "exitCodes")
        yield from choice(codes, f"{where}.exitCodes", "operator", ("In", "NotIn"))
        yield from required(codes, f"{where}.exitCodes", "operator", "values")


def _ports(found: Obj, path: str) -> Errors:
    names: set[str] = set()
    for index, port in enumerate(found.get("ports") or ()):
        where = f"{path}.ports[{index}]"
        yield from port_number(port.get("containerPort", 0), f"{where}.containerPort")
        if port.get("hostPort"):
            yield from port_number(port["hostPort"], f"{where}.hostPort")
        yield from choice(port, where, "protocol", PROTOCOLS)
        if name := port.get("name"):
            yield from port_name(name, f"{where}.name")
            if name in names:
                yield FieldError(f"{where}.name", "Duplicate value", "", name)
            names.add(name)


# Environment


def _environment(found: Obj, path: str) -> Errors:
    for index, variable in enumerate(found.get("env") or ()):
        where = f"{path}.env[{index}]"
        name = variable.get("name", "")
        if not name:
            yield FieldError(f"{where}.name", "Required value", "")
        elif not _ENV_NAME.fullmatch(name):
            message = "a valid environment variable name must consist only of printable ASCII "
            message += "characters other than '='"
            yield FieldError(f"{where}.name", "Invalid value", message, name)
        yield from _source_of_value(variable, f"{where}.valueFrom")
    for index, source in enumerate(found.get("envFrom") or ()):
        where = f"{path}.envFrom[{index}]"
        chosen = [source[field] for field in ("configMapRef", "secretRef") if field in source]
        if len(chosen) != 1:
            message = "must specify one of: `configMapRef` or `secretRef`"
            yield FieldError(where, "Invalid value", message, "")
        elif not chosen[0].get("name"):
            yield FieldError(f"{where}.name", "Required value", "")


def _source_of_value(variable: Obj, path: str) -> Errors:
    source = variable.get("valueFrom")
    if source is None:
        return
    if not source:
        message = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
            "`secretKeyRef` or `fileKeyRef`"
        )
        yield FieldError(path, "Invalid value", message, "")
    if variable.get("value"):
        message = "may not be specified when `value` is not empty"
        yield FieldError(path, "Invalid value", message, "")
    if len(source) > 1:
        message = "may not have more than one field specified at a time"
        yield FieldError(path, "Invalid value", message, "")
    for field in ("configMapKeyRef", "secretKeyRef"):
        if field in source:
            yield from required(source[field], f"{path}.{field}", "key")
    if "fieldRef" in source:
        yield from _own_field(source["fieldRef"], f"{path}.fieldRef")
    if "fileKeyRef" in source:
        where = f"{path}.fileKeyRef"
        yield from required(source["fileKeyRef"], where, "volumeName", "path", "key")
        yield from _inside(source["fileKeyRef"].get("path", ""), f"{where}.path")
    if "resourceFieldRef" in source:
        yield from required(source["resourceFieldRef"], f"{path}.resourceFieldRef", "resource")


def _own_field(reference: Obj, path: str) -> Errors:
    field = reference.get("fieldPath", "")
    if not field:
        yield FieldError(f"{path}.fieldPath", "Required value", "")
    elif field not in _OWN_FIELDS and not _ONE_LABEL.fullmatch(field):
        message = f"error converting fieldPath: field label not supported: {field}"
        yield FieldError(f"{path}.fieldPath", "Invalid value", message, field)


# Mounts and resources


def _mounts(found: Obj, path: str, volumes: Collection[str]) -> Errors:
    places: set[str] = set()
    for index, mount in enumerate(found.get("volumeMounts") or ()):
        where = f"{path}.volumeMounts[{index}]"
        name, place = mount.get("name"), mount.get("mountPath")
        if not name:
            yield FieldError(f"{where}.name", "Required value", "")
        elif name not in volumes:
            yield FieldError(f"{where}.name", "Not found", "", name)
        if not place:
            yield FieldError(f"{where}.mountPath", "Required value", "")
        elif place in places:
            yield FieldError(f"{where}.mountPath", "Invalid value", "must be unique", place)
        places.add(place or "")
        yield from _sub_path(mount, where)


def _sub_path(mount: Obj, path: str) -> Errors:
    for field in ("subPath", "subPathExpr"):
        yield from _inside(mount.get(field, ""), f"{path}.{field}")
    if mount.get("subPath") and mount.get("subPathExpr"):
        message = "subPathExpr and subPath are mutually exclusive"
        value = mount["subPathExpr"]
        yield FieldError(f"{path}.subPathExpr", "Invalid value", message, value)


def _inside(value: str, path: str) -> Errors:
    if value.startswith("/"):
        yield FieldError(path, "Invalid value", "must be a relative path", value)
    if ".." in value.split("/"):
        yield FieldError(path, "Invalid value", "must not contain '..'", value)


def _resources(resources: Obj, path: str) -> Errors:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    yield from quantities(limits, f"{path}.limits")
    yield from quantities(requests, f"{path}.requests")
    for field, given in (("limits", limits), ("requests", requests)):
        for name in given:
            yield from _resource_name(name, f"{path}.{field}[{name}]")
    for name, value in requests.items():
        extended = _is_extended(name)
        if name not in limits:
            if extended:
                message = "Limit must be set for non overcommitable resources"
                yield FieldError(f"{path}.limits", "Required value", message)
            continue
        wanted, most = parse_quantity(value), parse_quantity(limits[name])
        if extended and wanted != most:
            message = f"must be equal to {name} limit of {limits[name]}"
            yield FieldError(f"{path}.requests", "Invalid value", message, value)
        elif wanted > most:
            message = f"must be less than or equal to {name} limit of {limits[name]}"
            yield FieldError(f"{path}.requests", "Invalid value", message, value)


def _resource_name(name: str, path: str) -> Errors:
    """Upstream's ``ValidateContainerResourceName``, which says it twice."""
    if "/" in name or name in _OF_CONTAINERS or name.startswith("hugepages-"):
        return
    if name not in _OF_QUOTAS:
        message = "must be a standard resource type or fully qualified"
        yield FieldError(path, "Invalid value", message, name)
    yield FieldError(path, "Invalid value", "must be a standard resource for containers", name)


def _is_extended(name: str) -> bool:
    """Devices and the like, which cannot be shared: ``example.com/gpu``."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and not domain.endswith("kubernetes.io")


# Probes


def _probe(probe: Obj, path: str, *, ready: bool) -> Errors:
    yield from _handler(probe, path)
    numbers = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold")
    yield from at_least(probe, path, *numbers, "successThreshold")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and ready:
        message = "must not be set for readinessProbes"
        yield FieldError(f"{path}.terminationGracePeriodSeconds", "Invalid value", message, grace)
    elif grace is not None and grace <= 0:
        message = "must be greater than 0"
        yield FieldError(f"{path}.terminationGracePeriodSeconds", "Invalid value", message, grace)
    threshold = probe.get("successThreshold", 1)
    if not ready and threshold != 1:
        yield FieldError(f"{path}.successThreshold", "Invalid value", "must be 1", threshold)


def _handler(handler: Obj, path: str) -> Errors:
    chosen: Obj = {field: handler[field] for field in _HANDLERS if field in handler}
    yield from exactly_one(chosen, path, "handler")
    if "exec" in chosen:
        yield from required(chosen["exec"], f"{path}.exec", "command")
    for field in ("httpGet", "tcpSocket"):
        if field in chosen:
            yield from _target_port(chosen[field].get("port", 0), f"{path}.{field}.port")
    if "grpc" in chosen:
        yield from port_number(chosen["grpc"].get("port", 0), f"{path}.grpc.port")
    if "httpGet" in chosen:
        yield from choice(chosen["httpGet"], f"{path}.httpGet", "scheme", ("HTTP", "HTTPS"))


def _target_port(port: Any, path: str) -> Errors:
    yield from port_name(port, path) if isinstance(port, str) else port_number(port, path)
