"""Fills the folders of claims that begin with a copy: of another claim, or from a snapshot.

Copies can take long, so they have workers of their own; the binder goes on meanwhile. A folder that
is there is complete, whichever process filled it, and the claim can be bound to it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from kubeling.component import Context
from kubeling.engine.paths import EnginePaths
from kubeling.engine.storage.binding import PROVISIONER, size_of_claim
from kubeling.engine.storage.claims import ClaimView, phase
from kubeling.engine.storage.copying import CopyError, copy_folder
from kubeling.engine.storage.provisioning import DataSource, ProvisionError, data_source
from kubeling.engine.storage.snapshot_plan import handle_of_content, is_ready, restore_size
from kubeling.engine.storage.snapshot_resources import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from kubeling.engine.storage.usage import claims_of_pod
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, namespace
from kubeling.kube.quantities import parse_quantity
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS

__all__ = ["population_controller", "source_folder"]


def population_controller(context: Context, binder: Controller) -> Controller:
    """Fills folders, and wakes the binder for each."""
    reconciler = _Populator(context, binder)
    return Controller(
        "volume-populator",
        PERSISTENT_VOLUME_CLAIMS,
        reconciler.reconcile,
        watches={VOLUME_SNAPSHOTS: reconciler.waiting_for, PODS: claims_of_pod},
    )


def source_folder(volume: Obj | None) -> Path | None:
    """Where a volume's files are on this machine, if it has any."""
    spec = (volume or {}).get("spec") or {}
    path = (spec.get("hostPath") or spec.get("local") or {}).get("path")
    return Path(path) if path else None


class _Populator:
    def __init__(self, context: Context, binder: Controller) -> None:
        self._recorder = context.recorder("volume-populator")
        self._view = ClaimView(context)
        self._snapshots = context.informers.of(VOLUME_SNAPSHOTS)
        self._contents = context.informers.of(VOLUME_SNAPSHOT_CONTENTS)
        self._kept = EnginePaths(context.settings.data_dir / "engine").snapshots
        self._binder = binder

    def waiting_for(self, snapshot: Obj) -> list[Key]:
        """The claims that a snapshot may have to fill."""
        return [
            key_of(claim)
            for claim in self._view.claims.list(namespace(snapshot))
            if phase(claim) != "Bound" and claim["spec"].get("dataSource")
        ]

    async def reconcile(self, key: Key) -> None:
        claim = self._view.claims.get(*key)
        if claim is None:
            return
        if phase(claim) == "Bound" or deletion_requested(claim):
            for waiting in self._clones_of(claim):
                await self._fill(waiting)
            return
        await self._fill(claim)

    def _clones_of(self, claim: Obj) -> list[Obj]:
        """A claim that has just been bound may be what others are waiting to copy."""
        return [
            other
            for key in self.waiting_for(claim)
            if (other := self._view.claims.get(*key)) is not None
            and other["spec"]["dataSource"].get("name") == claim["metadata"]["name"]
        ]

    async def _fill(self, claim: Obj) -> None:
        chosen = self._view.class_of(claim)
        if chosen is None or chosen["provisioner"] != PROVISIONER:
            return
        if self._view.waits(claim, chosen):
            return
        try:
            source = data_source(claim)
            if source is None:
                return
            folder = self._view.provision(claim, chosen).folder
            origin = await self._folder_of(source, claim)
            message = f"Copying the files of {source.kind} {source.name}"
            await self._recorder.normal(claim, "Provisioning", message)
            await copy_folder(origin, folder)
        except ProvisionError as error:
            await self._recorder.warning(claim, "ProvisioningFailed", str(error))
        except CopyError as error:
            await self._recorder.warning(claim, "ProvisioningFailed", str(error))
            raise
        else:
            self._binder.wake(key_of(claim))

    async def _folder_of(self, source: DataSource, claim: Obj) -> Path:
        where = namespace(claim)
        if source.kind == "VolumeSnapshot":
            return self._of_snapshot(source.name, where, claim)
        other = self._view.claims.get(where, source.name)
        if other is None:
            raise ProvisionError(f'source claim "{source.name}" not found')
        volume = self._view.volumes.get("", other["spec"].get("volumeName") or "")
        folder = source_folder(volume)
        if phase(other) != "Bound" or volume is None or folder is None:
            raise ProvisionError(f'source claim "{source.name}" is not bound yet')
        _check_size(claim, volume["spec"]["capacity"]["storage"])
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        return folder

    def _of_snapshot(self, title: str, where: str, claim: Obj) -> Path:
        snapshot = self._snapshots.get(where, title)
        if snapshot is None:
            raise ProvisionError(f'volumesnapshot "{title}" not found')
        bound = (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName", "")
        content = self._contents.get("", bound)
        if content is None or not is_ready(snapshot):
            raise ProvisionError(f'snapshot "{title}" is not ready to use yet')
        _check_size(claim, restore_size(snapshot))
        return self._kept / handle_of_content(content)


def _check_size(claim: Obj, least: str) -> None:
    if size_of_claim(claim) < parse_quantity(least):
        raise ProvisionError(f"requested volume size is less than the size of its source, {least}")
