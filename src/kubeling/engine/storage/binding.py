"""Which volume a claim gets (upstream's ``pv_controller`` and its volume index). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kubeling.kube import objects, selectors
from kubeling.kube.objects import Obj, labels, name, namespace, new_object, uid
from kubeling.kube.quantities import Quantity, parse_quantity
from kubeling.kube.resources import STORAGE_CLASSES

__all__ = [
    "DEFAULT_CLASS",
    "PROVISIONER",
    "claim_reference",
    "default_storage_class",
    "find_volume",
    "mismatch",
    "size_of_claim",
    "standard_class",
    "wants_more",
]

PROVISIONER: Final = "kubeling.dev/local"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


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
    if wanted := claim["spec"].get("volumeName"):
        named = (v for v in volumes if name(v) == wanted and _free_for(v, claim))
        return next((v for v in named if not mismatch(v, claim)), None)
    fitting = [volume for volume in volumes if _fits(volume, claim)]
    return min(fitting, key=lambda v: (not v["spec"].get("claimRef"), _size(v)), default=None)


def mismatch(volume: Obj, claim: Obj) -> str:
    """Why the volume is not what the claim asks for, in upstream's words; empty if it is."""
    offered, asked = volume["spec"], claim["spec"]
    if _size(volume) < size_of_claim(claim):
        return "requested PV is too small"
    if (offered.get("storageClassName") or "") != (asked.get("storageClassName") or ""):
        return "storageClassName does not match"
    if _mode(offered) != _mode(asked):
        return "incompatible volumeMode"
    if not set(asked.get("accessModes") or ()) <= set(offered.get("accessModes") or ()):
        return "incompatible accessMode"
    return ""


def wants_more(claim: Obj, volume: Obj) -> bool:
    """Whether a bound claim asks for more than its volume has."""
    return _size(volume) < size_of_claim(claim)


def size_of_claim(claim: Obj) -> Quantity:
    """How much a claim asks for."""
    return parse_quantity(claim["spec"]["resources"]["requests"]["storage"])


def _fits(volume: Obj, claim: Obj) -> bool:
    if not _free_for(volume, claim) or mismatch(volume, claim):
        return False
    if claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"):
        # Only a volume of its own can have what the claim wants to find there.
        return bool(volume["spec"].get("claimRef"))
    selector = claim["spec"].get("selector")
    return selector is None or selectors.from_object(selector).matches(labels(volume))


def _free_for(volume: Obj, claim: Obj) -> bool:
    holder = volume["spec"].get("claimRef")
    if not holder:
        return "deletionTimestamp" not in volume["metadata"]
    same = (holder.get("namespace"), holder.get("name")) == (namespace(claim), name(claim))
    return same and holder.get("uid") in (None, "", uid(claim))


def _mode(spec: Obj) -> str:
    return str(spec.get("volumeMode") or "Filesystem")


def _size(volume: Obj) -> Quantity:
    return parse_quantity((volume["spec"].get("capacity") or {}).get("storage", "0"))
