"""Snapshots of volumes: a copy of the folder under a name of its own.

A VolumeSnapshot asks, its VolumeSnapshotContent is what is kept, and a content that exists already
can be given to a snapshot by name, as upstream's snapshot controller and its sidecar do it.
"""

from __future__ import annotations

import asyncio

from kubeling.component import Context
from kubeling.engine.paths import EnginePaths
from kubeling.engine.storage.binding import PROVISIONER
from kubeling.engine.storage.claims import phase
from kubeling.engine.storage.copying import CopyError, copy_folder
from kubeling.engine.storage.finalizers import has_finalizer, remove_finalizer, with_finalizer
from kubeling.engine.storage.populating import source_folder
from kubeling.engine.storage.snapshot_plan import (
    BOUND_PROTECTION,
    content_for,
    content_name,
    content_status,
    default_snapshot_class,
    failed_status,
    handle_of_content,
    is_bound_to,
    is_ready,
    snapshot_status,
)
from kubeling.engine.storage.snapshot_resources import (
    VOLUME_SNAPSHOT_CLASSES,
    VOLUME_SNAPSHOT_CONTENTS,
    VOLUME_SNAPSHOTS,
)
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, name, namespace
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES

__all__ = ["snapshot_controller"]


class _NotYet(Exception):
    """A snapshot cannot be taken now: why, and the reason of the Event."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def snapshot_controller(context: Context) -> Controller:
    """Takes snapshots, and binds them to what is kept."""
    reconciler = _Snapshots(context)
    return Controller(
        "snapshot-controller",
        VOLUME_SNAPSHOTS,
        reconciler.reconcile,
        watches={
            VOLUME_SNAPSHOT_CONTENTS: _snapshot_of_content,
            VOLUME_SNAPSHOT_CLASSES: reconciler.waiting,
            PERSISTENT_VOLUME_CLAIMS: reconciler.waiting,
        },
    )


class _Snapshots:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("snapshot-controller")
        self._snapshots = context.informers.of(VOLUME_SNAPSHOTS)
        self._contents = context.informers.of(VOLUME_SNAPSHOT_CONTENTS)
        self._classes = context.informers.of(VOLUME_SNAPSHOT_CLASSES)
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = context.informers.of(PERSISTENT_VOLUMES)
        self._kept = EnginePaths(context.settings.data_dir / "engine").snapshots

    def waiting(self, changed: Obj) -> list[Key]:
        """The snapshots that may be waiting for a claim or a class."""
        listed = self._snapshots.list(namespace(changed))
        return [key_of(found) for found in listed if not is_ready(found)]

    async def reconcile(self, key: Key) -> None:
        snapshot = self._snapshots.get(*key)
        if snapshot is None:
            return
        if deletion_requested(snapshot):
            await self._release(snapshot)
            return
        if is_ready(snapshot):
            return
        try:
            content = await self._content(snapshot)
        except _NotYet as error:
            await self._fail(snapshot, error.reason, str(error))
        except CopyError as error:
            await self._fail(snapshot, "SnapshotCreationFailed", str(error))
            raise
        else:
            if content is not None:
                await self._complete(snapshot, content)

    async def _content(self, snapshot: Obj) -> Obj | None:
        """The content with the snapshot's files in it; none where another driver is asked."""
        if title := snapshot["spec"]["source"].get("volumeSnapshotContentName"):
            return await self._existing(snapshot, title)
        chosen = self._class_of(snapshot)
        if chosen["driver"] != PROVISIONER:
            return None
        volume = self._volume_of(snapshot)
        snapshot = await self._protect(snapshot, chosen)
        content = await self._created(content_for(snapshot, chosen, volume))
        if not (content.get("status") or {}).get("readyToUse"):
            folder = source_folder(volume)
            assert folder is not None
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            message = f"Waiting for a snapshot {key_of(snapshot)} to be created."
            await self._recorder.normal(snapshot, "CreatingSnapshot", message)
            await copy_folder(folder, self._kept / handle_of_content(content))
            size = volume["spec"]["capacity"]["storage"]
            status = content_status(content, size, self._clock.now())
            await write_status(self._client, VOLUME_SNAPSHOT_CONTENTS, content, status)
            content = {**content, "status": status}
        return content

    def _class_of(self, snapshot: Obj) -> Obj:
        title = snapshot["spec"].get("volumeSnapshotClassName")
        if not title:
            if (chosen := default_snapshot_class(self._classes.list())) is None:
                raise _NotYet("SetDefaultSnapshotClassFailed", "cannot find default snapshot class")
            return chosen
        if (chosen := self._classes.get("", title)) is None:
            message = f'volumesnapshotclass.snapshot.storage.k8s.io "{title}" not found'
            raise _NotYet("GetSnapshotClassFailed", message)
        return chosen

    def _volume_of(self, snapshot: Obj) -> Obj:
        title = snapshot["spec"]["source"]["persistentVolumeClaimName"]
        claim = self._claims.get(namespace(snapshot), title)
        if claim is None:
            message = f'persistentvolumeclaim "{title}" not found'
            raise _NotYet("SnapshotCreationFailed", message)
        volume = self._volumes.get("", claim["spec"].get("volumeName") or "")
        if phase(claim) != "Bound" or volume is None:
            raise _NotYet("SnapshotCreationFailed", f"the PVC {title} is not yet bound to a PV")
        if source_folder(volume) is None:
            message = f'volume "{name(volume)}" is no folder of this machine'
            raise _NotYet("SnapshotCreationFailed", message)
        return volume

    async def _existing(self, snapshot: Obj, title: str) -> Obj:
        content = self._contents.get("", title)
        if content is None:
            raise _NotYet("SnapshotContentMissing", f'VolumeSnapshotContent "{title}" is missing')
        if not is_bound_to(content, snapshot):
            message = f'VolumeSnapshotContent "{title}" is bound to a different snapshot'
            raise _NotYet("SnapshotContentMisbound", message)
        if not content["spec"]["volumeSnapshotRef"].get("uid"):
            reference = {"uid": snapshot["metadata"]["uid"]}
            patch = {"spec": {"volumeSnapshotRef": reference}}
            content = await self._client.patch(VOLUME_SNAPSHOT_CONTENTS, title, patch)
        await self._protect(snapshot, None)
        return content

    async def _created(self, content: Obj) -> Obj:
        try:
            return await self._client.create(VOLUME_SNAPSHOT_CONTENTS, content)
        except AlreadyExists:
            return await self._client.get(VOLUME_SNAPSHOT_CONTENTS, name(content))

    async def _protect(self, snapshot: Obj, chosen: Obj | None) -> Obj:
        patch: Obj = {"metadata": {"finalizers": with_finalizer(snapshot, BOUND_PROTECTION)}}
        if chosen is not None:
            patch["spec"] = {"volumeSnapshotClassName": name(chosen)}
        return await self._client.patch(
            VOLUME_SNAPSHOTS, name(snapshot), patch, namespace(snapshot)
        )

    async def _complete(self, snapshot: Obj, content: Obj) -> None:
        current = await self._client.get(VOLUME_SNAPSHOTS, name(snapshot), namespace(snapshot))
        status = snapshot_status(content)
        await write_status(self._client, VOLUME_SNAPSHOTS, current, status)
        if status["readyToUse"]:
            message = f"Snapshot {key_of(snapshot)} is ready to use."
            await self._recorder.normal(snapshot, "SnapshotReady", message)

    async def _fail(self, snapshot: Obj, reason: str, message: str) -> None:
        status = failed_status(snapshot.get("status") or {}, message, self._clock.now())
        if await write_status(self._client, VOLUME_SNAPSHOTS, snapshot, status):
            await self._recorder.warning(snapshot, reason, message)

    async def _release(self, snapshot: Obj) -> None:
        """What is kept goes first, where its policy says that it goes."""
        if not has_finalizer(snapshot, BOUND_PROTECTION):
            return
        content = await self._client.find(VOLUME_SNAPSHOT_CONTENTS, content_name(snapshot))
        bound = content is not None and is_bound_to(content, snapshot)
        if content is not None and bound and content["spec"]["deletionPolicy"] == "Delete":
            await self._client.delete(VOLUME_SNAPSHOT_CONTENTS, name(content), missing_ok=True)
            return
        await remove_finalizer(self._client, VOLUME_SNAPSHOTS, snapshot, BOUND_PROTECTION)


def _snapshot_of_content(content: Obj) -> tuple[Key, ...]:
    reference = content["spec"]["volumeSnapshotRef"]
    return (Key(reference.get("namespace", ""), reference.get("name", "")),)
