"""Rules of what is written through ``pods/ephemeralcontainers`` and ``pods/resize``.

Kubernetes' (``ValidatePodEphemeralContainersUpdate``, ``ValidatePodResize``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.apiserver.validation.containers import container
from kubeling.apiserver.validation.rules import Errors, spec_of
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["ephemeral_containers", "resized"]

_NOT_EPHEMERAL: Final = (
    "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources",
    "resizePolicy", "restartPolicy", "restartPolicyRules",
)  # fmt: skip
_EPHEMERAL: Final = "spec.ephemeralContainers"
_RESIZABLE: Final = frozenset({"cpu", "memory"})


def ephemeral_containers(new: Obj, old: Obj) -> Errors:
    """Containers may be added; those there are stay as they are."""
    spec, before = spec_of(new), spec_of(old).get("ephemeralContainers") or []
    found: list[Obj] = spec.get("ephemeralContainers") or []
    by_name = {c.get("name", ""): c for c in found}
    for known in before:
        if known["name"] not in by_name:
            message = f'existing ephemeral containers "{known["name"]}" may not be removed\n'
            yield FieldError(_EPHEMERAL, "Forbidden", message)
        elif by_name[known["name"]] != known:
            message = f'existing ephemeral containers "{known["name"]}" may not be changed\n'
            yield FieldError(_EPHEMERAL, "Forbidden", message)
    known_names = [c["name"] for c in before]
    others = [c["name"] for f in ("initContainers", "containers") for c in spec.get(f) or ()]
    seen = set(others)
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    for index, added in enumerate(found):
        where = f"{_EPHEMERAL}[{index}]"
        if added.get("name") in seen:
            yield FieldError(f"{where}.name", "Duplicate value", "", added["name"])
        seen.add(added.get("name", ""))
        if added.get("name") not in known_names:
            yield from container(added, where, volumes, initial=False)
            yield from _ephemeral(added, where, others)


def _ephemeral(added: Obj, path: str, others: list[str]) -> Errors:
    message = "cannot be set for an Ephemeral Container"
    for field in _NOT_EPHEMERAL:
        if added.get(field):
            yield FieldError(f"{path}.{field}", "Forbidden", message)
    for index, mount in enumerate(added.get("volumeMounts") or ()):
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                yield FieldError(f"{path}.volumeMounts[{index}].{field}", "Forbidden", message)
    target = added.get("targetContainerName")
    if target and target not in others:
        yield FieldError(f"{path}.targetContainerName", "Not found", "", target)


def resized(new: Obj, old: Obj) -> Errors:
    """CPU and memory may change, in a way that leaves the pod's class as it is."""
    for field in ("initContainers", "containers"):
        before = {c["name"]: c.get("resources") or {} for c in spec_of(old).get(field) or ()}
        for index, found in enumerate(spec_of(new).get(field) or ()):
            where = f"spec.{field}[{index}].resources"
            resources = found.get("resources") or {}
            yield from _changes(resources, before[found["name"]], where)
            if resources == before[found["name"]]:
                continue
            if field == "initContainers" and found.get("restartPolicy") != "Always":
                message = "resources of non-sidecar init containers cannot be resized"
                yield FieldError(where, "Forbidden", message)


def _changes(new: Mapping[str, Any], old: Mapping[str, Any], path: str) -> Errors:
    for kind in ("limits", "requests"):
        wanted, known = new.get(kind) or {}, old.get(kind) or {}
        for resource in known.keys() - wanted.keys():
            message = f"resource {kind} cannot be removed"
            yield FieldError(f"{path}.{kind}.{resource}", "Forbidden", message)
        changed = {r for r, value in wanted.items() if value != known.get(r)}
        for resource in sorted(changed - _RESIZABLE):
            message = "only cpu and memory resources are mutable"
            yield FieldError(f"{path}.{kind}.{resource}", "Forbidden", message)
