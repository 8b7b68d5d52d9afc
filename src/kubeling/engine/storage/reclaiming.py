"""Volumes whose claim is gone are kept, or deleted with all they hold, as their policy says."""

from __future__ import annotations

import asyncio
from typing import Final

from kubeling.component import Context
from kubeling.engine.storage.copying import remove_folder
from kubeling.engine.storage.finalizers import remove_finalizer
from kubeling.engine.storage.provisioning import folder_of_volume
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, name, uid
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES

__all__ = ["volume_controller"]

_PROTECTION: Final = "kubernetes.io/pv-protection"
_NOT_OURS: Final = (
    "only a volume that was provisioned here is deleted with what it holds: delete its files and "
    "the PersistentVolume by hand, or set persistentVolumeReclaimPolicy to Retain"
)
_NO_RECYCLING: Final = "persistentVolumeReclaimPolicy Recycle is deprecated and not available here"


def volume_controller(context: Context) -> Controller:
    """Reclaims volumes."""
    reconciler = _Volumes(context)
    return Controller(
        "persistentvolume-reclaimer",
        PERSISTENT_VOLUMES,
        reconciler.reconcile,
        watches={PERSISTENT_VOLUME_CLAIMS: reconciler.volume_of_claim},
    )


class _Volumes:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder("persistentvolume-controller")
        self._volumes = context.informers.of(PERSISTENT_VOLUMES)

    def volume_of_claim(self, claim: Obj) -> list[Key]:
        return [
            key_of(volume)
            for volume in self._volumes.list()
            if (volume["spec"].get("claimRef") or {}).get("uid") == uid(claim)
        ]

    async def reconcile(self, key: Key) -> None:
        volume = self._volumes.get(*key)
        if volume is None:
            return
        holder = volume["spec"].get("claimRef") or {}
        if not holder.get("uid"):
            await self._set_phase(volume, "Available")
        elif await self._is_held(holder):
            await self._set_phase(volume, "Bound")
            return
        else:
            await self._reclaim(volume)
        if deletion_requested(volume):
            # No claim has the volume: nothing protects it any more.
            await remove_finalizer(self._client, PERSISTENT_VOLUMES, volume, _PROTECTION)

    async def _is_held(self, holder: Obj) -> bool:
        claim = await self._client.find(
            PERSISTENT_VOLUME_CLAIMS, holder["name"], holder["namespace"]
        )
        return claim is not None and uid(claim) == holder["uid"]

    async def _reclaim(self, volume: Obj) -> None:
        match volume["spec"].get("persistentVolumeReclaimPolicy"):
            case "Delete":
                await self._delete(volume)
            case "Recycle":
                await self._fail(volume, "VolumeFailedRecycle", _NO_RECYCLING)
            case _:
                await self._set_phase(volume, "Released")

    async def _delete(self, volume: Obj) -> None:
        if (folder := folder_of_volume(volume)) is None:
            await self._fail(volume, "VolumeFailedDelete", _NOT_OURS)
            return
        await asyncio.to_thread(remove_folder, folder)
        await self._client.delete(PERSISTENT_VOLUMES, name(volume), missing_ok=True)

    async def _fail(self, volume: Obj, reason: str, message: str) -> None:
        status = {**(volume.get("status") or {}), "phase": "Failed", "message": message}
        if await write_status(self._client, PERSISTENT_VOLUMES, volume, status):
            await self._recorder.warning(volume, reason, message)

    async def _set_phase(self, volume: Obj, phase: str) -> None:
        if deletion_requested(volume):
            return
        status = {**(volume.get("status") or {}), "phase": phase}
        status.pop("message", None)
        await write_status(self._client, PERSISTENT_VOLUMES, volume, status)
