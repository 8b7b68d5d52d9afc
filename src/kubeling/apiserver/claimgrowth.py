"""Only claims whose storage class lets volumes grow may ask for more.

(upstream's admission plugin ``PersistentVolumeClaimResize``)
"""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, parse_quantity

__all__ = ["ClaimGrowth"]

_CLAIMS: Final = "/persistentvolumeclaims"
_CLASSES: Final = "storage.k8s.io/storageclasses"


class ClaimGrowth:
    """A check of changed claims."""

    storages: Final = (_CLAIMS,)

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        if old is None or options.subresource:
            return
        if _size(new) <= _size(old):
            return
        name = new["metadata"]["name"]
        if (old.get("status") or {}).get("phase") != "Bound":
            why = "Only bound persistent volume claims can be expanded"
            raise Forbidden.of("", "persistentvolumeclaims", name, why)
        record = self._store.get(StoreKey(_CLASSES, "", old["spec"].get("storageClassName") or ""))
        if record is None or not record.obj.get("allowVolumeExpansion"):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )
            raise Forbidden.of("", "persistentvolumeclaims", name, why)


def _size(claim: Obj) -> Quantity:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return parse_quantity(requests.get("storage", "0"))
