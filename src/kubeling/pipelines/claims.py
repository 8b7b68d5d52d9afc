"""``CreatePVC`` and ``DeletePVC`` of kfp-kubernetes: tasks that the controller does itself. Pure.

They compile to containers of an image that exists only to be recognised.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS
from kubeling.pipelines.bindings import BindingError

__all__ = ["CREATE", "DELETE", "IMAGES", "claim_to_create", "claim_to_delete"]

CREATE: Final = "argostub/createpvc"
DELETE: Final = "argostub/deletepvc"
IMAGES: Final = frozenset({CREATE, DELETE})


def claim_to_create(parameters: dict[str, Any], run_name: str, namespace: str) -> Obj:
    """The claim that a ``CreatePVC`` task asks for; raises :class:`BindingError`."""
    given, suffix = parameters.get("pvc_name"), parameters.get("pvc_name_suffix")
    if bool(given) == bool(suffix):
        raise BindingError("CreatePVC: give either pvc_name or pvc_name_suffix")
    spec: Obj = {
        "accessModes": parameters.get("access_modes") or ["ReadWriteOnce"],
        "resources": {"requests": {"storage": parameters.get("size") or "1Gi"}},
    }
    for field, parameter in (
        ("storageClassName", "storage_class_name"),
        ("volumeName", "volume_name"),
        ("dataSource", "data_source"),
    ):
        if value := parameters.get(parameter):
            spec[field] = value
    name = str(given or f"{run_name}-{str(suffix).strip('-')}")
    annotations = {str(k): str(v) for k, v in (parameters.get("annotations") or {}).items()}
    return new_object(PERSISTENT_VOLUME_CLAIMS, name, namespace, annotations=annotations, spec=spec)


def claim_to_delete(parameters: dict[str, Any]) -> str:
    """The name of the claim that a ``DeletePVC`` task removes."""
    return str(parameters["pvc_name"])
