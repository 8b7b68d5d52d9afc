"""The kinds of ``snapshot.storage.k8s.io/v1``, as kubernetes-csi/external-snapshotter defines them.

They are no part of Kubernetes itself: a cluster has them with its snapshot controller, and this
node brings its own.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from kubeling.engine.storage.binding import PROVISIONER
from kubeling.kube.crd import Column, IntOrString, Time, crd, schema_of
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import Resource

__all__ = [
    "DEFAULT_SNAPSHOT_CLASS",
    "VOLUME_SNAPSHOTS",
    "VOLUME_SNAPSHOT_CLASSES",
    "VOLUME_SNAPSHOT_CONTENTS",
    "snapshot_definitions",
    "standard_snapshot_class",
]

_GROUP: Final = "snapshot.storage.k8s.io"
_APPROVED: Final = "https://github.com/kubernetes-csi/external-snapshotter/pull/814"
DEFAULT_SNAPSHOT_CLASS: Final = "snapshot.storage.kubernetes.io/is-default-class"

VOLUME_SNAPSHOTS: Final = Resource(_GROUP, "v1", "VolumeSnapshot", "volumesnapshots", True, ("vs",))
VOLUME_SNAPSHOT_CONTENTS: Final = Resource(
    _GROUP, "v1", "VolumeSnapshotContent", "volumesnapshotcontents", False, ("vsc", "vscs")
)
VOLUME_SNAPSHOT_CLASSES: Final = Resource(
    _GROUP, "v1", "VolumeSnapshotClass", "volumesnapshotclasses", False, ("vsclass", "vsclasses")
)


class SnapshotSource(msgspec.Struct, rename="camel", omit_defaults=True):
    """A claim to take a snapshot of, or a content that exists."""

    persistent_volume_claim_name: str = ""
    volume_snapshot_content_name: str = ""


class SnapshotSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a snapshot is of."""

    source: SnapshotSource
    volume_snapshot_class_name: str = ""


class SnapshotError(msgspec.Struct, rename="camel", omit_defaults=True):
    """What went wrong last, and when."""

    message: str = ""
    time: Time | None = None


class SnapshotStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """The content that is bound to a snapshot, and whether it can be restored from."""

    bound_volume_snapshot_content_name: str = ""
    creation_time: Time | None = None
    ready_to_use: bool | None = None
    restore_size: IntOrString | None = None
    error: SnapshotError | None = None
    volume_group_snapshot_name: str = ""


class SnapshotReference(msgspec.Struct, rename="camel", omit_defaults=True):
    """The snapshot that a content is bound to."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class ContentSource(msgspec.Struct, rename="camel", omit_defaults=True):
    """The volume that a content was taken of, or the handle of what exists."""

    volume_handle: str = ""
    snapshot_handle: str = ""


class ContentSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A snapshot as it is stored."""

    deletion_policy: Literal["Delete", "Retain"]
    driver: str
    source: ContentSource
    volume_snapshot_ref: SnapshotReference
    source_volume_mode: str = ""
    volume_snapshot_class_name: str = ""


class ContentStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What is stored."""

    creation_time: int | None = None
    ready_to_use: bool | None = None
    restore_size: int | None = None
    snapshot_handle: str = ""
    error: SnapshotError | None = None
    volume_group_snapshot_handle: str = ""


class ClassBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """How snapshots are made, and what becomes of them with their VolumeSnapshot."""

    driver: str
    deletion_policy: Literal["Delete", "Retain"]
    parameters: dict[str, str] = {}


def snapshot_definitions() -> list[Obj]:
    """The CustomResourceDefinitions."""
    snapshots = crd(VOLUME_SNAPSHOTS, SnapshotSpec, SnapshotStatus, columns=_SNAPSHOT_COLUMNS)
    contents = crd(VOLUME_SNAPSHOT_CONTENTS, ContentSpec, ContentStatus, columns=_CONTENT_COLUMNS)
    _one_of(snapshots, "persistentVolumeClaimName", "volumeSnapshotContentName")
    _one_of(contents, "volumeHandle", "snapshotHandle")
    classes = crd(VOLUME_SNAPSHOT_CLASSES, {}, columns=_CLASS_COLUMNS, spec_required=False)
    body, (version,) = schema_of(ClassBody), classes["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]
    schema["properties"].update(body["properties"])
    schema["required"] = body["required"]
    definitions = [snapshots, contents, classes]
    for definition in definitions:
        # Names below k8s.io are reserved: the annotation says who agreed to them.
        definition["metadata"]["annotations"] = {"api-approved.kubernetes.io": _APPROVED}
    return definitions


def standard_snapshot_class() -> Obj:
    """The class every installation has: copies below the data directory."""
    return new_object(
        VOLUME_SNAPSHOT_CLASSES,
        "standard",
        annotations={DEFAULT_SNAPSHOT_CLASS: "true"},
        driver=PROVISIONER,
        deletionPolicy="Delete",
    )


def _one_of(definition: Obj, first: str, second: str) -> None:
    (version,) = definition["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["source"]["x-kubernetes-validations"] = [
        {
            "rule": f"has(self.{first}) != has(self.{second})",
            "message": f"exactly one of {first} and {second} must be set",
        },
        {"rule": "self == oldSelf", "message": "source is immutable"},
    ]


_Columns = list[Column]
_READY: Final[Any] = Column("ReadyToUse", ".status.readyToUse", "boolean")
_SNAPSHOT_COLUMNS: Final[_Columns] = [
    _READY,
    Column("SourcePVC", ".spec.source.persistentVolumeClaimName"),
    Column("SourceSnapshotContent", ".spec.source.volumeSnapshotContentName"),
    Column("RestoreSize", ".status.restoreSize"),
    Column("SnapshotClass", ".spec.volumeSnapshotClassName"),
    Column("SnapshotContent", ".status.boundVolumeSnapshotContentName"),
    Column("CreationTime", ".status.creationTime", "date"),
]
_CONTENT_COLUMNS: Final[_Columns] = [
    _READY,
    Column("RestoreSize", ".status.restoreSize", "integer"),
    Column("DeletionPolicy", ".spec.deletionPolicy"),
    Column("Driver", ".spec.driver"),
    Column("VolumeSnapshotClass", ".spec.volumeSnapshotClassName"),
    Column("VolumeSnapshot", ".spec.volumeSnapshotRef.name"),
    Column("VolumeSnapshotNamespace", ".spec.volumeSnapshotRef.namespace"),
]
_CLASS_COLUMNS: Final[_Columns] = [
    Column("Driver", ".driver"),
    Column("DeletionPolicy", ".deletionPolicy"),
]
