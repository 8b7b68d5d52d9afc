"""Defaults of what holds data."""

from __future__ import annotations

import base64
from typing import Final

from kubeling.apiserver.defaults.rules import Rule, Rules, default, part
from kubeling.kube.objects import Obj

__all__ = ["STORAGE_DEFAULTS"]

_SOURCES: Final = frozenset(
    {("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")}
)


def _plain_text(secret: Obj) -> None:
    """``stringData`` is for writing only: it is kept, encoded, in ``data``."""
    plain = secret.get("stringData")
    if not isinstance(plain, dict):
        return
    del secret["stringData"]
    default(secret, {"data": {}})
    for key, value in plain.items():
        part(secret, "data")[key] = base64.b64encode(str(value).encode()).decode()


def _data_source(spec: Obj) -> None:
    """The newer ``dataSourceRef`` and ``dataSource`` say the same, as far as the older can."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        group, kind = reference.get("apiGroup") or "", reference.get("kind")
        if (group, kind) in _SOURCES:
            spec["dataSource"] = dict(reference)


STORAGE_DEFAULTS: Final[Rules] = {
    ("v1", "Secret"): (Rule("", {"type": "Opaque"}), Rule("", _plain_text)),
    ("v1", "PersistentVolumeClaim"): (
        Rule("spec", {"volumeMode": "Filesystem"}),
        Rule("spec", _data_source),
    ),
    ("v1", "PersistentVolume"): (
        Rule("spec", {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"}),
        Rule("spec.hostPath", {"type": ""}),
        Rule("spec.iscsi", {"iscsiInterface": "default"}),
    ),
    ("storage.k8s.io/v1", "StorageClass"): (
        Rule("", {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
    ),
    ("storage.k8s.io/v1", "CSIDriver"): (
        Rule(
            "spec",
            {
                "attachRequired": True,
                "podInfoOnMount": False,
                "storageCapacity": False,
                "fsGroupPolicy": "ReadWriteOnceWithFSType",
                "volumeLifecycleModes": ["Persistent"],
                "requiresRepublish": False,
                "seLinuxMount": False,
            },
        ),
    ),
}
