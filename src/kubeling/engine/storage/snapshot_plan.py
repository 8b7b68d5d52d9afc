"""What a snapshot's objects say (upstream's ``snapshot_controller``). Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

from kubeling.engine.storage.binding import PROVISIONER
from kubeling.engine.storage.snapshot_resources import (
    DEFAULT_SNAPSHOT_CLASS,
    VOLUME_SNAPSHOT_CONTENTS,
)
from kubeling.kube import objects
from kubeling.kube.objects import Obj, format_time, name, namespace, new_object, uid
from kubeling.kube.quantities import format_quantity, parse_quantity

__all__ = [
    "BOUND_PROTECTION",
    "CONTENT_PROTECTION",
    "content_for",
    "content_name",
    "content_status",
    "default_snapshot_class",
    "failed_status",
    "handle_of_content",
    "is_bound_to",
    "is_ready",
    "is_taken_here",
    "restore_size",
    "snapshot_status",
]

BOUND_PROTECTION: Final = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
CONTENT_PROTECTION: Final = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"


def default_snapshot_class(classes: Iterable[Obj]) -> Obj | None:
    """The class of snapshots that name none: the newest of ours that is marked."""
    marked = [
        found
        for found in classes
        if objects.annotations(found).get(DEFAULT_SNAPSHOT_CLASS) == "true"
        and found["driver"] == PROVISIONER
    ]
    return max(marked, key=lambda c: (c["metadata"]["creationTimestamp"], name(c)), default=None)


def content_for(snapshot: Obj, snapshot_class: Obj, volume: Obj) -> Obj:
    """The content of a new snapshot of a volume."""
    reference = {
        "apiVersion": snapshot["apiVersion"],
        "kind": snapshot["kind"],
        "namespace": namespace(snapshot),
        "name": name(snapshot),
        "uid": uid(snapshot),
    }
    content = new_object(
        VOLUME_SNAPSHOT_CONTENTS,
        content_name(snapshot),
        spec={
            "deletionPolicy": snapshot_class["deletionPolicy"],
            "driver": PROVISIONER,
            "source": {"volumeHandle": name(volume)},
            "sourceVolumeMode": "Filesystem",
            "volumeSnapshotClassName": name(snapshot_class),
            "volumeSnapshotRef": reference,
        },
    )
    content["metadata"]["finalizers"] = [CONTENT_PROTECTION]
    return content


def content_name(snapshot: Obj) -> str:
    """The content that a snapshot names, or the one that is made for it."""
    named = snapshot["spec"]["source"].get("volumeSnapshotContentName")
    return str(named or f"snapcontent-{uid(snapshot)}")


def is_taken_here(content: Obj) -> bool:
    """Whether a content is ours to look after."""
    return bool(content["spec"]["driver"] == PROVISIONER)


def is_bound_to(content: Obj, snapshot: Obj) -> bool:
    """Whether a content that exists is meant for the snapshot."""
    reference = content["spec"]["volumeSnapshotRef"]
    named = (reference.get("namespace"), reference.get("name"))
    return named == (namespace(snapshot), name(snapshot)) and (
        reference.get("uid") in (None, "", uid(snapshot))
    )


def handle_of_content(content: Obj) -> str:
    """The name of the folder a content is kept in."""
    given = content["spec"]["source"].get("snapshotHandle")
    return str(given or content["spec"]["volumeSnapshotRef"]["uid"])


def content_status(content: Obj, size: str, taken: dt.datetime) -> Obj:
    return {
        "creationTime": int(taken.timestamp()) * 1_000_000_000,
        "readyToUse": True,
        "restoreSize": int(parse_quantity(size)),
        "snapshotHandle": handle_of_content(content),
    }


def snapshot_status(content: Obj) -> Obj:
    """What the snapshot says of its content."""
    status = content.get("status") or {}
    shown: Obj = {
        "boundVolumeSnapshotContentName": name(content),
        "readyToUse": bool(status.get("readyToUse")),
    }
    if taken := status.get("creationTime"):
        shown["creationTime"] = format_time(dt.datetime.fromtimestamp(taken / 1e9, dt.UTC))
    if (size := status.get("restoreSize")) is not None:
        shown["restoreSize"] = format_quantity(parse_quantity(size), binary=True)
    if error := status.get("error"):
        shown["error"] = error
    return shown


def failed_status(status: Obj, message: str, now: dt.datetime) -> Obj:
    """The status with what went wrong; the moment of a repeated failure is that of the first."""
    if (status.get("error") or {}).get("message") == message:
        return status
    error = {"message": message, "time": format_time(now)}
    return {**status, "readyToUse": False, "error": error}


def is_ready(snapshot: Obj) -> bool:
    return bool((snapshot.get("status") or {}).get("readyToUse"))


def restore_size(snapshot: Obj) -> str:
    return str((snapshot.get("status") or {}).get("restoreSize") or "0")
