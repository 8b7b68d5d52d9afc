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


def merged(base: Obj, *overrides: Obj) -> Obj:
    """Specs, the last of which wins."""
    found = deep_copy(base)
    for override in overrides:
        found = _merge(found, override, "")
    result: Obj = found
    return result


def _merge(base: Any, override: Any, field: str) -> Any:
    if isinstance(base, dict) and isinstance(override, dict):
        found = dict(base)
        for key, value in override.items():
            if value is None:
                continue
            found[key] = _merge(base[key], value, key) if key in base else deep_copy(value)
        return found
    if isinstance(base, list) and isinstance(override, list) and field in _KEYS:
        return _merge_list(base, override, _KEYS[field])
    return deep_copy(override)


def _merge_list(base: list[Any], override: list[Any], key: str) -> list[Any]:
    """By key: entries that both have are merged, new ones stand first, as in Kubernetes."""
    wanted = {entry.get(key): entry for entry in override}
    kept = [
        _merge(entry, wanted[entry.get(key)], "") if entry.get(key) in wanted else entry
        for entry in base
    ]
    known = {entry.get(key) for entry in base}
    new = [deep_copy(entry) for entry in override if entry.get(key) not in known]
    return new + kept
