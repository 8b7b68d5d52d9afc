"""Strategic merge of pod templates, for runtime patches.

Lists of named things (containers, volumes, environment …) are merged entry by entry; all other
lists are replaced, as Kubernetes' own patch strategy says for the fields of a pod.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import deep_copy

__all__ = ["merge", "upsert"]

_KEYS: Final = {
    "replicatedJobs": "name",
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "schedulingGates": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
}
_APPENDED: Final = frozenset({"tolerations"})


def merge(base: Any, patch: Any, field: str = "") -> Any:
    """``base`` with ``patch`` merged in; ``None`` in the patch removes. Neither is changed."""
    if isinstance(base, dict) and isinstance(patch, dict):
        merged = dict(base)
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = merge(merged.get(key), value, key)
        return merged
    if isinstance(base, list) and isinstance(patch, list):
        if key := _KEYS.get(field):
            return upsert(base, patch, key)
        if field in _APPENDED:
            return [*base, *(entry for entry in patch if entry not in base)]
    return deep_copy(patch)


def upsert(base: list[Any], patch: list[Any], key: str) -> list[Any]:
    """Merges lists of objects by a key; new entries go to the end."""
    merged = list(base)
    places = {entry.get(key): i for i, entry in enumerate(merged)}
    for entry in patch:
        place = places.get(entry.get(key))
        if place is None:
            places[entry.get(key)] = len(merged)
            merged.append(deep_copy(entry))
        else:
            merged[place] = merge(merged[place], entry)
    return merged
