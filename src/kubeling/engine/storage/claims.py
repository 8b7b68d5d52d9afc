"""Volume claims: bound to a volume that exists or to a new folder; volumes go with their claims.

A claim that a pod uses is not let go (its finalizer holds it), and a volume whose claim is gone is
kept or deleted with all it holds, as its reclaim policy says.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from kubeling.component import Context
from kubeling.engine.paths import EnginePaths
from kubeling.engine.storage.binding import (
    PROVISIONER,
    claim_reference,
    default_storage_class,
    find_volume,
    provisioned_volume,
    wants_more,
)
from kubeling.engine.trees import remove_tree
from kubeling.engine.workloads.podstate import is_finished
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists, NotFound
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, name, namespace, uid
from kubeling.kube.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)

__all__ = ["claim_controller", "volume_controller"]

_PROTECTION: Final = "kubernetes.io/pvc-protection"
_VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"


def claim_controller(context: Context) -> Controller:
    """Binds claims."""
    reconciler = _Claims(context)
    return Controller(
        "persistentvolume-binder",
        PERSISTENT_VOLUME_CLAIMS,
        reconciler.reconcile,
        watches={
            PERSISTENT_VOLUMES: reconciler.claims_of_volume,
            STORAGE_CLASSES: reconciler.unbound,
            PODS: _claims_of_pod,
        },
        workers=1,
    )


def volume_controller(context: Context) -> Controller:
    """Reclaims volumes."""
    reconciler = _Volumes(context)
    return Controller(
        "persistentvolume-reclaimer",
        PERSISTENT_VOLUMES,
        reconciler.reconcile,
        watches={PERSISTENT_VOLUME_CLAIMS: reconciler.volume_of_claim},
    )


class _Claims:
    """One worker binds them all, so no volume is promised twice."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder("persistentvolume-controller")
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = context.informers.of(PERSISTENT_VOLUMES)
        self._classes = context.informers.of(STORAGE_CLASSES)
        self._pods = context.informers.of(PODS)
        self._folder = EnginePaths(context.settings.data_dir / "engine").claims

    def unbound(self, _: Obj) -> list[Key]:
        return [key_of(c) for c in self._claims.list() if _phase(c) != "Bound"]

    def claims_of_volume(self, volume: Obj) -> list[Key]:
        holder = volume["spec"].get("claimRef")
        if holder:
            return [Key(holder.get("namespace", ""), holder.get("name", ""))]
        return self.unbound(volume)

    async def reconcile(self, key: Key) -> None:
        claim = self._claims.get(*key)
        if claim is None:
            return
        if deletion_requested(claim):
            await self._release(claim)
        elif _phase(claim) == "Bound":
            await self._check_volume(claim)
        else:
            await self._bind(claim)

    async def _bind(self, claim: Obj) -> None:
        claim = await self._with_class(claim)
        volume = find_volume(claim, self._volumes.list())
        if volume is None:
            volume = await self._provision(claim)
        elif (volume["spec"].get("claimRef") or {}).get("uid") != uid(claim):
            patch = {"spec": {"claimRef": claim_reference(claim)}}
            volume = await self._client.patch(PERSISTENT_VOLUMES, name(volume), patch)
        if volume is not None:
            await self._complete(claim, volume)

    async def _with_class(self, claim: Obj) -> Obj:
        """A claim that names no class gets the default one; ``""`` means none."""
        if claim["spec"].get("storageClassName") is not None:
            return claim
        chosen = default_storage_class(self._classes.list())
        if chosen is None:
            return claim
        patch = {"spec": {"storageClassName": name(chosen)}}
        return await self._client.patch(
            PERSISTENT_VOLUME_CLAIMS, name(claim), patch, namespace(claim)
        )

    async def _provision(self, claim: Obj) -> Obj | None:
        title = claim["spec"].get("storageClassName") or ""
        chosen = self._classes.get("", title) if title else None
        if chosen is None or claim["spec"].get("volumeName"):
            await self._explain(claim, title)
            return None
        if chosen["provisioner"] != PROVISIONER:
            message = f'Waiting for a volume to be created by "{chosen["provisioner"]}"'
            await self._recorder.normal(claim, "ExternalProvisioning", message)
            return None
        folder = self._folder / namespace(claim) / f"{name(claim)}-{uid(claim)[:8]}"
        volume = provisioned_volume(claim, chosen, folder)
        title = name(volume)
        try:
            created = await self._client.create(PERSISTENT_VOLUMES, volume)
        except AlreadyExists:
            return await self._client.get(PERSISTENT_VOLUMES, title)
        message = f"Successfully provisioned volume {title}"
        await self._recorder.normal(claim, "ProvisioningSucceeded", message)
        return created

    async def _explain(self, claim: Obj, title: str) -> None:
        if wanted := claim["spec"].get("volumeName"):
            message = f'volume "{wanted}" does not exist or belongs to another claim'
            await self._recorder.warning(claim, "FailedBinding", message)
        elif title:
            message = f'storageclass.storage.k8s.io "{title}" not found'
            await self._recorder.warning(claim, "ProvisioningFailed", message)
        else:
            message = "no persistent volumes available for this claim and no storage class is set"
            await self._recorder.normal(claim, "FailedBinding", message)

    async def _complete(self, claim: Obj, volume: Obj) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        patch = {
            "metadata": {
                "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
                "finalizers": [*finalizers, *([_PROTECTION] * (_PROTECTION not in finalizers))],
            },
            "spec": {"volumeName": name(volume)},
        }
        bound = await self._client.patch(
            PERSISTENT_VOLUME_CLAIMS, name(claim), patch, namespace(claim)
        )
        status = {
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": volume["spec"].get("capacity") or {},
        }
        await write_status(self._client, PERSISTENT_VOLUME_CLAIMS, bound, status)

    async def _check_volume(self, claim: Obj) -> None:
        title = claim["spec"].get("volumeName", "")
        if (volume := self._volumes.get("", title)) is not None:
            if wants_more(claim, volume):
                await self._expand(claim, volume)
            return
        if await self._client.find(PERSISTENT_VOLUMES, title) is None:
            status = {**(claim.get("status") or {}), "phase": "Lost"}
            await write_status(self._client, PERSISTENT_VOLUME_CLAIMS, claim, status)
            message = f'Bound claim has lost its PersistentVolume "{title}". Data is lost!'
            await self._recorder.warning(claim, "ClaimLost", message)

    async def _expand(self, claim: Obj, volume: Obj) -> None:
        """A folder has no size: the volume is as large as the claim says."""
        chosen = self._classes.get("", claim["spec"].get("storageClassName") or "")
        if chosen is None or not chosen.get("allowVolumeExpansion"):
            message = "the storage class does not allow volumes to grow (allowVolumeExpansion)"
            await self._recorder.warning(claim, "VolumeResizeFailed", message)
            return
        capacity = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        await self._client.patch(PERSISTENT_VOLUMES, name(volume), {"spec": {"capacity": capacity}})
        status = {**claim["status"], "capacity": capacity}
        await write_status(self._client, PERSISTENT_VOLUME_CLAIMS, claim, status)

    async def _release(self, claim: Obj) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        if _PROTECTION not in finalizers or self._in_use(claim):
            return
        kept = [f for f in finalizers if f != _PROTECTION]
        patch = {"metadata": {"finalizers": kept or None}}
        with contextlib.suppress(NotFound):
            await self._client.patch(PERSISTENT_VOLUME_CLAIMS, name(claim), patch, namespace(claim))

    def _in_use(self, claim: Obj) -> bool:
        return any(
            key_of(claim) in _claims_of_pod(pod) and not is_finished(pod)
            for pod in self._pods.list(namespace(claim))
        )


class _Volumes:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._volumes = context.informers.of(PERSISTENT_VOLUMES)
        self._root = EnginePaths(context.settings.data_dir / "engine").claims

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
        if deletion_requested(volume):
            if not holder.get("uid") or not await self._is_held(holder):
                await self._release(volume)
        elif not holder.get("uid"):
            await self._set_phase(volume, "Available")
        elif await self._is_held(holder):
            await self._set_phase(volume, "Bound")
        elif volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            await self._delete(volume)
        else:
            await self._set_phase(volume, "Released")

    async def _is_held(self, holder: Obj) -> bool:
        claim = await self._client.find(
            PERSISTENT_VOLUME_CLAIMS, holder["name"], holder["namespace"]
        )
        return claim is not None and uid(claim) == holder["uid"]

    async def _delete(self, volume: Obj) -> None:
        path = Path((volume["spec"].get("hostPath") or {}).get("path") or "/")
        if path.is_relative_to(self._root) and path != self._root:
            await asyncio.to_thread(remove_tree, path)
        await self._client.delete(PERSISTENT_VOLUMES, name(volume), missing_ok=True)

    async def _release(self, volume: Obj) -> None:
        """Lets a volume go that nobody has."""
        finalizers = volume["metadata"].get("finalizers") or []
        if _VOLUME_PROTECTION in finalizers:
            kept = [f for f in finalizers if f != _VOLUME_PROTECTION]
            patch = {"metadata": {"finalizers": kept or None}}
            with contextlib.suppress(NotFound):
                await self._client.patch(PERSISTENT_VOLUMES, name(volume), patch)

    async def _set_phase(self, volume: Obj, phase: str) -> None:
        status = {**(volume.get("status") or {}), "phase": phase}
        await write_status(self._client, PERSISTENT_VOLUMES, volume, status)


def _phase(claim: Obj) -> str:
    return str((claim.get("status") or {}).get("phase", "Pending"))


def _claims_of_pod(pod: Obj) -> list[Key]:
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    return [
        Key(namespace(pod), volume["persistentVolumeClaim"]["claimName"])
        for volume in volumes
        if "persistentVolumeClaim" in volume
    ]
