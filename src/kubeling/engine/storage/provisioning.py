"""A new volume for a claim: which folder it is, or why there can be none. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from kubeling.engine.storage.binding import PROVISIONER, claim_reference
from kubeling.kube import objects
from kubeling.kube.objects import Obj, name, namespace, new_object, uid
from kubeling.kube.resources import PERSISTENT_VOLUMES

__all__ = [
    "DataSource",
    "Provision",
    "ProvisionError",
    "data_source",
    "folder_of_volume",
    "provision",
]

_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
_PARAMETERS: Final = frozenset({"path"})
_SOURCES: Final = {
    ("", "PersistentVolumeClaim"),
    ("snapshot.storage.k8s.io", "VolumeSnapshot"),
}


class ProvisionError(Exception):
    """The claim or its class asks for what volumes here cannot be."""


class DataSource(NamedTuple):
    """What a new volume is filled with: a claim or a snapshot of the claim's namespace."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Provision:
    """A volume to be made, and its folder."""

    folder: Path
    volume: Obj


def provision(claim: Obj, storage_class: Obj, root: Path) -> Provision:
    """A folder of the claim's own below ``root``, or below the class's ``path``."""
    spec = claim["spec"]
    _check(spec, storage_class)
    base = Path((storage_class.get("parameters") or {}).get("path") or root)
    folder = base / namespace(claim) / _folder_name(claim_reference(claim))
    volume = new_object(
        PERSISTENT_VOLUMES,
        f"pvc-{uid(claim)}",
        annotations={_PROVISIONED_BY: PROVISIONER},
        spec={
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": list(spec.get("accessModes") or ["ReadWriteOnce"]),
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": name(storage_class),
            "volumeMode": "Filesystem",
            "claimRef": claim_reference(claim),
            "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
        },
    )
    return Provision(folder, volume)


def data_source(claim: Obj) -> DataSource | None:
    """What the claim's volume begins with; raises :class:`ProvisionError` for what cannot be."""
    spec = claim["spec"]
    source = spec.get("dataSourceRef") or spec.get("dataSource")
    if not source:
        return None
    group, kind = source.get("apiGroup") or "", source["kind"]
    if (group, kind) not in _SOURCES:
        shown = f"{kind}.{group}" if group else kind
        raise ProvisionError(
            f"dataSource {shown} cannot be used here: name a PersistentVolumeClaim or a "
            "VolumeSnapshot"
        )
    if source.get("namespace") not in (None, "", namespace(claim)):
        raise ProvisionError("dataSourceRef.namespace: only the claim's own can be used")
    return DataSource(kind, source["name"])


def folder_of_volume(volume: Obj) -> Path | None:
    """The folder that was made for the volume, and may go with it; ``None`` for all others.

    A volume that somebody wrote by hand points where it likes: its folder is not ours to delete.
    """
    if objects.annotations(volume).get(_PROVISIONED_BY) != PROVISIONER:
        return None
    path = Path((volume["spec"].get("hostPath") or {}).get("path") or "/")
    holder = volume["spec"].get("claimRef") or {}
    return path if holder.get("uid") and path.name == _folder_name(holder) else None


def _folder_name(holder: Obj) -> str:
    return f"{holder['name']}-{holder['uid'][:8]}"


def _check(spec: Obj, storage_class: Obj) -> None:
    parameters = storage_class.get("parameters") or {}
    where = f'storage class "{name(storage_class)}"'
    if unknown := sorted(parameters.keys() - _PARAMETERS):
        raise ProvisionError(f'{where}: invalid parameter "{unknown[0]}": only "path" is known')
    if "path" in parameters and not Path(parameters["path"]).is_absolute():
        raise ProvisionError(f'{where}: parameter "path" must be an absolute path')
    if storage_class.get("mountOptions"):
        raise ProvisionError(f"{where}: mountOptions: volumes are folders and are not mounted")
    if spec.get("volumeMode") == "Block":
        raise ProvisionError("volumeMode Block: volumes are folders; use Filesystem")
    if spec.get("volumeAttributesClassName"):
        raise ProvisionError("volumeAttributesClassName: volumes are folders and have none")
