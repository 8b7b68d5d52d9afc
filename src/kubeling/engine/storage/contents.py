"""What is kept of snapshots: found where it exists already, removed where its policy says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kubeling.component import Context
from kubeling.engine.paths import EnginePaths
from kubeling.engine.storage.copying import remove_folder
from kubeling.engine.storage.finalizers import has_finalizer, remove_finalizer, with_finalizer
from kubeling.engine.storage.snapshot_plan import (
    CONTENT_PROTECTION,
    failed_status,
    handle_of_content,
    is_bound_to,
    is_taken_here,
)
from kubeling.engine.storage.snapshot_resources import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Key, Obj, deletion_requested, name

__all__ = ["content_controller"]


def content_controller(context: Context) -> Controller:
    """Looks after VolumeSnapshotContents."""
    reconciler = _Contents(context)
    return Controller(
        "snapshot-content-controller",
        VOLUME_SNAPSHOT_CONTENTS,
        reconciler.reconcile,
        watches={VOLUME_SNAPSHOTS: _content_of_snapshot},
    )


class _Contents:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("snapshot-controller")
        self._contents = context.informers.of(VOLUME_SNAPSHOT_CONTENTS)
        self._kept = EnginePaths(context.settings.data_dir / "engine").snapshots

    async def reconcile(self, key: Key) -> None:
        content = self._contents.get(*key)
        if content is None or not is_taken_here(content):
            return
        if deletion_requested(content):
            await self._release(content)
        elif content["spec"]["source"].get("snapshotHandle"):
            await self._find(content)

    async def _find(self, content: Obj) -> None:
        """A content written by hand is of a folder that is kept already."""
        if (content.get("status") or {}).get("readyToUse"):
            return
        if not has_finalizer(content, CONTENT_PROTECTION):
            finalizers = {"finalizers": with_finalizer(content, CONTENT_PROTECTION)}
            patch = {"metadata": finalizers}
            content = await self._client.patch(VOLUME_SNAPSHOT_CONTENTS, name(content), patch)
        folder = self._folder(content)
        if folder is not None and await asyncio.to_thread(folder.is_dir):
            taken = int((await asyncio.to_thread(folder.stat)).st_mtime) * 1_000_000_000
            handle = handle_of_content(content)
            status: Obj = {"creationTime": taken, "readyToUse": True, "snapshotHandle": handle}
            await write_status(self._client, VOLUME_SNAPSHOT_CONTENTS, content, status)
            return
        message = f'there is no snapshot "{handle_of_content(content)}" in {self._kept}'
        status = failed_status(content.get("status") or {}, message, self._clock.now())
        if await write_status(self._client, VOLUME_SNAPSHOT_CONTENTS, content, status):
            await self._recorder.warning(content, "SnapshotContentCheckandUpdateFailed", message)

    async def _release(self, content: Obj) -> None:
        reference = content["spec"]["volumeSnapshotRef"]
        snapshot = await self._client.find(
            VOLUME_SNAPSHOTS, reference.get("name", ""), reference.get("namespace", "")
        )
        bound = snapshot is not None and is_bound_to(content, snapshot)
        if snapshot is not None and bound and not deletion_requested(snapshot):
            return
        folder = self._folder(content)
        if content["spec"]["deletionPolicy"] == "Delete" and folder is not None:
            await asyncio.to_thread(remove_folder, folder)
        await remove_finalizer(self._client, VOLUME_SNAPSHOT_CONTENTS, content, CONTENT_PROTECTION)

    def _folder(self, content: Obj) -> Path | None:
        """The content's folder; none where its handle is no name of one."""
        handle = handle_of_content(content)
        if not handle or handle.startswith(".") or "/" in handle:
            return None
        return self._kept / handle


def _content_of_snapshot(snapshot: Obj) -> tuple[Key, ...]:
    title = (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName")
    return (Key("", title),) if title else ()
