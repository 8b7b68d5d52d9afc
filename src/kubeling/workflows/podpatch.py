"""``podSpecPatch``: a strategic merge over the pod's spec (``workflow/util``, ApplyPodSpecPatch).

Lists of a pod's spec that Kubernetes merges by a key are merged by it here; every other list is
replaced, ``null`` deletes and ``$patch`` directs, as in a patch sent to an API server. It happens
before the pod is created, so that no pod is seen that lacks its patch.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube import yaml
from kubeling.kube.objects import Obj

__all__ = ["InvalidPatch", "parse_patch", "patched", "without_executor"]

_KEYS: Final[dict[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
}
_DIRECTIVE: Final = "$patch"
_EXECUTOR: Final = (("initContainers", "init"), ("containers", "wait"))


class InvalidPatch(Exception):
    """The text is no patch of a pod's spec; the message says why."""


def parse_patch(text: str) -> Obj:
    """A patch as JSON or YAML says it."""
    try:
        found = yaml.load(text)
    except ValueError as error:
        raise InvalidPatch(f"podSpecPatch: {error}") from None
    if not isinstance(found, dict):
        raise InvalidPatch("podSpecPatch must be an object with fields of a pod's spec")
    return found


def patched(spec: Obj, patch: Obj) -> Obj:
    """The spec with the patch merged in."""
    if patch.get(_DIRECTIVE) == "replace":
        return _plain(patch)
    merged: Obj = dict(spec)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(key, merged.get(key), value)
    return merged


def without_executor(spec: Obj) -> Obj:
    """The patched spec without what a patch says of upstream's containers around a step.

    There are none here, so their resources and the like have nothing to hold for.
    """
    kept = dict(spec)
    for place, name in _EXECUTOR:
        entries = kept.get(place) or []
        found = [e for e in entries if e.get("name") != name or e.get("image")]
        if len(found) < len(entries):
            kept[place] = found
            if not found:
                kept.pop(place)
    return kept


def _merged(key: str, own: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return patched(own if isinstance(own, dict) else {}, value)
    if isinstance(value, list) and key in _KEYS and all(isinstance(e, dict) for e in value):
        return _by_key(own if isinstance(own, list) else [], value, _KEYS[key])
    return value


def _by_key(own: list[Obj], patch: list[Obj], key: str) -> list[Obj]:
    if any(entry.get(_DIRECTIVE) == "replace" and len(entry) == 1 for entry in patch):
        return [_plain(entry) for entry in patch if len(entry) > 1]
    merged: dict[Any, Obj] = {entry.get(key): entry for entry in own}
    for entry in patch:
        if entry.get(key) is None:
            raise InvalidPatch(f'podSpecPatch: an entry of a list merged by "{key}" lacks it')
        if entry.get(_DIRECTIVE) == "delete":
            merged.pop(entry[key], None)
        else:
            merged[entry[key]] = patched(merged.get(entry[key]) or {}, entry)
    return list(merged.values())


def _plain(patch: Obj) -> Obj:
    return {key: value for key, value in patch.items() if not key.startswith("$")}
