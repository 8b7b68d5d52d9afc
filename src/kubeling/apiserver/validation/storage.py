"""Rules of claims, volumes and storage classes."""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    choice,
    exactly_one,
    quantities,
    required,
    selector,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

__all__ = ["STORAGE_RULES"]

_ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES: Final = ("Block", "Filesystem")
_CLAIM_CHANGEABLE: Final = frozenset({"resources", "volumeAttributesClassName"})
_VOLUME_FACTS: Final = frozenset(
    {"capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName",
     "mountOptions", "volumeMode", "nodeAffinity", "volumeAttributesClassName"}
)  # fmt: skip
_CLASS_FIELDS: Final = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")


def _modes(spec: Obj) -> Errors:
    modes = spec.get("accessModes") or []
    if not modes:
        message = "at least 1 access mode is required"
        yield FieldError("spec.accessModes", "Required value", message)
    for mode in modes:
        if mode not in _ACCESS_MODES:
            listed = ", ".join(f'"{known}"' for known in _ACCESS_MODES)
            message = f"supported values: {listed}"
            yield FieldError("spec.accessModes", "Unsupported value", message, mode)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        message = "may not use ReadWriteOncePod with other access modes"
        yield FieldError("spec.accessModes", "Forbidden", message)
    yield from choice(spec, "spec", "volumeMode", _VOLUME_MODES)


def _claim(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    yield from _modes(spec)
    yield from selector(spec.get("selector") or {}, "spec.selector")
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and reference and _without_namespace(reference) != source:
        yield FieldError("spec", "Invalid value", "must match dataSourceRef", source)
    size = _size(spec)
    if size is None:
        yield FieldError("spec.resources[storage]", "Required value", "")
    elif parse_quantity(size) <= 0:
        path = "spec.resources[storage]"
        yield FieldError(path, "Invalid value", "must be greater than zero", size)
    if old is not None:
        yield from _claim_update(spec, spec_of(old))


def _without_namespace(reference: Obj) -> Obj:
    return {key: value for key, value in reference.items() if key != "namespace"}


def _size(spec: Obj) -> Any:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


def _claim_update(new: Obj, old: Obj) -> Errors:
    # Binding names the volume, and a class is given late where there was none.
    settled = {
        field
        for field in (new.keys() | old.keys()) - _CLAIM_CHANGEABLE
        if old.get(field) not in (None, "") or field not in ("volumeName", "storageClassName")
    }
    if any(new.get(field) != old.get(field) for field in settled):
        message = (
            "spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims"
        )
        yield FieldError("spec", "Forbidden", message)
    after, before = _size(new), _size(old)
    if after and before and parse_quantity(after) < parse_quantity(before):
        message = "field can not be less than previous value"
        yield FieldError("spec.resources.requests.storage", "Forbidden", message)


def _volume(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    yield from _modes(spec)
    yield from required(spec, "spec", "capacity")
    yield from quantities(spec.get("capacity") or {}, "spec.capacity")
    policies = ("Delete", "Recycle", "Retain")
    yield from choice(spec, "spec", "persistentVolumeReclaimPolicy", policies)
    yield from exactly_one(spec, "spec", "volume", but=_VOLUME_FACTS)
    if "local" in spec and not spec.get("nodeAffinity"):
        message = "Local volume requires node affinity"
        yield FieldError("spec.nodeAffinity", "Required value", message)
    if old is None:
        return
    before = spec_of(old)
    if any(spec.get(key) != before.get(key) for key in (spec.keys() | before) - _VOLUME_FACTS):
        message = "spec.persistentvolumesource is immutable after creation"
        yield FieldError("spec.persistentvolumesource", "Forbidden", message)


def _class(new: Obj, old: Obj | None) -> Errors:
    yield from choice(new, "", "reclaimPolicy", ("Delete", "Retain"))
    yield from choice(new, "", "volumeBindingMode", ("Immediate", "WaitForFirstConsumer"))
    if old is not None:
        for field in _CLASS_FIELDS:
            if new.get(field) != old.get(field):
                yield FieldError(field, "Forbidden", f"updates to {field} are forbidden.")


STORAGE_RULES: Final[Checks] = {
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("storage.k8s.io", "StorageClass"): _class,
}
