"""Strategic merge of pod templates, for runtime patches.

Lists of named things (containers, volumes, environment …) are merged entry by entry; all other
lists are replaced, as Kubernetes' own patch strategy says for the fields of a pod.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import deep_copy

__all__ = ["merge", "replace_by_name", "upsert"]

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
    if isinstance(base, list) and isinstance(patch, list) and (key := _KEYS.get(field)):
        return upsert(base, patch, key)
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


def replace_by_name(base: list[Any], entries: list[Any]) -> list[Any]:
    """Puts whole entries in the places of those of the same name; new ones go to the end.

    Variables are given so: half of one and half of another makes no sense.
    """
    fresh = {entry["name"]: deep_copy(entry) for entry in entries}
    kept = [fresh.pop(entry.get("name"), entry) for entry in base]
    return [*kept, *fresh.values()]
