"""Which volume a claim gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kubeling.kube import objects, selectors
from kubeling.kube.objects import Obj, labels, name, namespace, new_object, uid
from kubeling.kube.quantities import Quantity, parse_quantity
from kubeling.kube.resources import PERSISTENT_VOLUMES, STORAGE_CLASSES

__all__ = [
    "DEFAULT_CLASS",
    "PROVISIONER",
    "claim_reference",
    "default_storage_class",
    "find_volume",
    "provisioned_volume",
    "standard_class",
    "wants_more",
]

PROVISIONER: Final = "kubeling.dev/local"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"


def standard_class() -> Obj:
    """The storage class every installation has: folders below the data directory."""
    return new_object(
        STORAGE_CLASSES,
        "standard",
        annotations={DEFAULT_CLASS: "true"},
        provisioner=PROVISIONER,
        reclaimPolicy="Delete",
        volumeBindingMode="Immediate",
        allowVolumeExpansion=True,
    )


def default_storage_class(classes: Iterable[Obj]) -> Obj | None:
    """The class of claims that name none; the newest, should several say so."""
    marked = [c for c in classes if objects.annotations(c).get(DEFAULT_CLASS) == "true"]
    return max(marked, key=lambda c: (c["metadata"]["creationTimestamp"], name(c)), default=None)


def claim_reference(claim: Obj) -> Obj:
    """What a volume says about the claim it is bound to."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": namespace(claim),
        "name": name(claim),
        "uid": uid(claim),
    }


def find_volume(claim: Obj, volumes: Iterable[Obj]) -> Obj | None:
    """The smallest existing volume that does, one reserved for the claim first."""
    spec = claim["spec"]
    if wanted := spec.get("volumeName"):
        return next((v for v in volumes if name(v) == wanted and _free_for(v, claim)), None)
    fitting = [volume for volume in volumes if _fits(volume, claim)]
    return min(fitting, key=lambda v: (not v["spec"].get("claimRef"), _size(v)), default=None)


def provisioned_volume(claim: Obj, storage_class: Obj, folder: Path) -> Obj:
    """A new volume for the claim: a folder of its own on this machine."""
    spec = claim["spec"]
    return new_object(
        PERSISTENT_VOLUMES,
        f"pvc-{uid(claim)}",
        annotations={_PROVISIONED_BY: PROVISIONER},
        spec={
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": list(spec.get("accessModes") or ["ReadWriteOnce"]),
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": name(storage_class),
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "claimRef": claim_reference(claim),
            "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
        },
    )


def wants_more(claim: Obj, volume: Obj) -> bool:
    """Whether a bound claim asks for more than its volume has."""
    return _size(volume) < parse_quantity(claim["spec"]["resources"]["requests"]["storage"])


def _fits(volume: Obj, claim: Obj) -> bool:
    spec = claim["spec"]
    if not _free_for(volume, claim):
        return False
    if (volume["spec"].get("storageClassName") or "") != (spec.get("storageClassName") or ""):
        return False
    if not set(spec.get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ()):
        return False
    selector = spec.get("selector")
    if selector is not None and not selectors.from_object(selector).matches(labels(volume)):
        return False
    return _size(volume) >= parse_quantity(spec["resources"]["requests"]["storage"])


def _free_for(volume: Obj, claim: Obj) -> bool:
    holder = volume["spec"].get("claimRef")
    if not holder:
        return "deletionTimestamp" not in volume["metadata"]
    same = (holder.get("namespace"), holder.get("name")) == (namespace(claim), name(claim))
    return same and holder.get("uid") in (None, "", uid(claim))


def _size(volume: Obj) -> Quantity:
    return parse_quantity((volume["spec"].get("capacity") or {}).get("storage", "0"))
