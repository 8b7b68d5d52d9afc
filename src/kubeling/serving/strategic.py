"""Specs laid over one another as Kubernetes' strategic merge does it.

Runtimes under services, and configurations under LLM services: objects are merged field by field,
and containers, volumes, variables and ports by their names; other lists are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy

__all__ = ["merged"]

_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists whose entries are merged, and by what; all others are replaced."""
_HANDLERS: Final = frozenset({"exec", "grpc", "httpGet", "sleep", "tcpSocket"})
_HANDLED: Final = ("livenessProbe", "readinessProbe", "startupProbe", "postStart", "preStop")
_OF_ONE_KIND: Final = ("env", "volumes")
"""Whose entries have a name and one more field: a source, a value."""


def merged(base: Obj, *overrides: Obj) -> Obj:
    """Specs, the last of which wins."""
    found = deep_copy(base)
    for override in overrides:
        found = _merge(found, override, "")
    result: Obj = found
    return result


def _merge(base: Any, override: Any, field: str) -> Any:
    if isinstance(base, dict) and isinstance(override, dict):
        found = _without_other_kinds(base, override, field)
        for key, value in override.items():
            if value is None:
                continue
            found[key] = _merge(base[key], value, key) if key in base else deep_copy(value)
        return found
    if isinstance(base, list) and isinstance(override, list) and field in _KEYS:
        return _merge_list(base, override, field)
    return deep_copy(override)


def _without_other_kinds(base: Obj, override: Obj, field: str) -> Obj:
    """What is merged with an object: not its source or handler, if the object has another one."""
    before, now = _kinds(base, field), _kinds(override, field)
    others = before - now if now - before else set()
    return {key: value for key, value in base.items() if key not in others}


def _kinds(value: Obj, field: str) -> set[str]:
    if field in _HANDLED:
        return value.keys() & _HANDLERS
    return value.keys() - {"name"} if field in _OF_ONE_KIND else set()


def _merge_list(base: list[Any], override: list[Any], field: str) -> list[Any]:
    """By key: entries that both have are merged, new ones stand first, as in Kubernetes."""
    key = _KEYS[field]
    wanted = {entry.get(key): entry for entry in override}
    kept = [
        _merge(entry, wanted[entry.get(key)], field) if entry.get(key) in wanted else entry
        for entry in base
    ]
    known = {entry.get(key) for entry in base}
    new = [deep_copy(entry) for entry in override if entry.get(key) not in known]
    return new + kept
