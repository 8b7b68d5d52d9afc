"""The columns of what holds data: claims, volumes, classes, maps and secrets."""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.columns.column import AGE, Columns, computed, get, text
from kubeling.kube.objects import Obj

__all__ = ["STORAGE_COLUMNS"]

_SHORT: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_VOLUME_MODE: Final = text("VolumeMode", "spec", "volumeMode", default="<unset>", priority=1)
_ATTRIBUTES_CLASS: Final = text(
    "VolumeAttributesClass", "spec", "volumeAttributesClassName", default="<unset>"
)


def _modes(obj: Obj, part: str) -> str:
    modes = get(obj, part, "accessModes", default=[])
    return ",".join(dict.fromkeys(_SHORT.get(mode, mode) for mode in modes))


def _phase(obj: Obj) -> str:
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else get(obj, "status", "phase")


def _if_bound(obj: Obj, value: Any) -> Any:
    return value if get(obj, "spec", "volumeName") else ""


def _claim(volume: Obj) -> str:
    claim = get(volume, "spec", "claimRef", default=None)
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _class_name(storage_class: Obj) -> str:
    name: str = storage_class["metadata"]["name"]
    annotations = get(storage_class, "metadata", "annotations", default={})
    return f"{name} (default)" if annotations.get(_DEFAULT_CLASS) == "true" else name


STORAGE_COLUMNS: Final[Columns] = {
    ("", "PersistentVolumeClaim"): (
        computed("Status", _phase),
        text("Volume", "spec", "volumeName", default=""),
        computed("Capacity", lambda o: _if_bound(o, get(o, "status", "capacity", "storage"))),
        computed("Access Modes", lambda o: _if_bound(o, _modes(o, "status"))),
        text("StorageClass", "spec", "storageClassName", default=""),
        _ATTRIBUTES_CLASS,
        AGE,
        _VOLUME_MODE,
    ),
    ("", "PersistentVolume"): (
        text("Capacity", "spec", "capacity", "storage", default=""),
        computed("Access Modes", lambda o: _modes(o, "spec")),
        text("Reclaim Policy", "spec", "persistentVolumeReclaimPolicy"),
        computed("Status", _phase),
        computed("Claim", _claim),
        text("StorageClass", "spec", "storageClassName", default=""),
        _ATTRIBUTES_CLASS,
        text("Reason", "status", "reason", default=""),
        AGE,
        _VOLUME_MODE,
    ),
    ("storage.k8s.io", "StorageClass"): (
        computed("Name", _class_name),
        text("Provisioner", "provisioner"),
        text("ReclaimPolicy", "reclaimPolicy", default="Delete"),
        text("VolumeBindingMode", "volumeBindingMode", default="Immediate"),
        computed(
            "AllowVolumeExpansion", lambda o: bool(o.get("allowVolumeExpansion")), type="boolean"
        ),
        AGE,
    ),
    ("", "ConfigMap"): (
        computed(
            "Data",
            lambda o: len(o.get("data") or {}) + len(o.get("binaryData") or {}),
            type="integer",
        ),
        AGE,
    ),
    ("", "Secret"): (
        text("Type", "type", default="Opaque"),
        computed("Data", lambda o: len(o.get("data") or {}), type="integer"),
        AGE,
    ),
}
