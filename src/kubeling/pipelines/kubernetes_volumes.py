"""The volumes of a task: secrets, config maps, claims, scratch space, shared memory. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.pipelines.kubernetes_scheduling import given_name
from kubeling.pipelines.platform_values import SettingsError, Value

__all__ = ["add_volumes", "claim_spec"]

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MODES: Final = {
    "RWO": "ReadWriteOnce",
    "ROX": "ReadOnlyMany",
    "RWX": "ReadWriteMany",
    "RWOP": "ReadWriteOncePod",
}


def add_volumes(spec: Obj, container: Obj, settings: Obj, value: Value) -> None:
    """Adds volumes and where they are mounted; one that is mounted twice is there once."""
    for volume, mount in _volumes(settings, value):
        volumes = spec.setdefault("volumes", [])
        if _LABEL.fullmatch(volume["name"]) is None:
            volume["name"] = f"kfp-{len(volumes)}"
        there = next((v for v in volumes if v["name"] == volume["name"]), None)
        if there is None:
            volumes.append(volume)
        elif there != volume:
            volume["name"] = f"{volume['name'][:50]}-{len(volumes)}"
            volumes.append(volume)
        container.setdefault("volumeMounts", []).append({"name": volume["name"], **mount})


def _volumes(settings: Obj, value: Value) -> Iterator[tuple[Obj, Obj]]:
    for entry in settings.get("secretAsVolume") or ():
        if name := given_name(entry, "secretName", value):
            secret = {"secretName": name, "optional": bool(entry.get("optional"))}
            yield {"name": name, "secret": secret}, _mount(entry)
    for entry in settings.get("configMapAsVolume") or ():
        if name := given_name(entry, "configMapName", value):
            source = {"name": name, "optional": bool(entry.get("optional"))}
            yield {"name": name, "configMap": source}, _mount(entry)
    for entry in settings.get("pvcMount") or ():
        name = given_name(entry, "pvcName", value)
        if not name:
            raise SettingsError(f"pvcMount {entry['mountPath']}: the claim's name is empty")
        yield {"name": name, "persistentVolumeClaim": {"claimName": name}}, _mount(entry)
    for entry in settings.get("emptyDirMounts") or ():
        folder = {key: entry[key] for key in ("medium", "sizeLimit") if entry.get(key)}
        yield {"name": entry["volumeName"], "emptyDir": folder}, _mount(entry)
    for entry in settings.get("genericEphemeralVolume") or ():
        template: Obj = {"spec": claim_spec(entry)}
        if metadata := entry.get("metadata"):
            template["metadata"] = metadata
        source = {"volumeClaimTemplate": template}
        yield {"name": entry["volumeName"], "ephemeral": source}, _mount(entry)
    if shared := settings.get("enabledSharedMemory"):
        memory: Obj = {"medium": "Memory"}
        if shared.get("size"):
            memory["sizeLimit"] = shared["size"]
        name = shared.get("volumeName") or "shm"
        yield {"name": name, "emptyDir": memory}, {"mountPath": "/dev/shm"}


def claim_spec(entry: Obj) -> Obj:
    """The spec of a claim; access modes may be abbreviated, as kubectl shows them."""
    modes = entry.get("accessModes") or ["ReadWriteOnce"]
    spec: Obj = {
        "accessModes": [_MODES.get(mode, mode) for mode in modes],
        "resources": {"requests": {"storage": entry.get("size") or "1Gi"}},
    }
    if not entry.get("defaultStorageClass") and (name := entry.get("storageClassName")):
        spec["storageClassName"] = name
    return spec


def _mount(entry: Obj) -> Obj:
    mount: Obj = {"mountPath": entry["mountPath"]}
    if sub_path := entry.get("subPath"):
        mount["subPath"] = sub_path
    return mount
