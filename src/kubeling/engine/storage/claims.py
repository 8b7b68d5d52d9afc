"""Volume claims: bound to a volume that exists or to a new folder.

A class that waits for its first consumer gets its volumes when a pod uses the claim. A claim with
a data source is bound once its folder has been filled (:mod:`.populating`). A claim that a pod uses
is not let go: its finalizer holds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kubeling.component import Context
from kubeling.engine.paths import EnginePaths
from kubeling.engine.storage.binding import (
    PROVISIONER,
    claim_reference,
    default_storage_class,
    find_volume,
    mismatch,
    wants_more,
)
from kubeling.engine.storage.finalizers import remove_finalizer, with_finalizer
from kubeling.engine.storage.provisioning import (
    Provision,
    ProvisionError,
    data_source,
    provision,
)
from kubeling.engine.storage.usage import claims_of_pod, users
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, name, namespace, uid
from kubeling.kube.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)

__all__ = ["ClaimView", "claim_controller", "phase"]

_PROTECTION: Final = "kubernetes.io/pvc-protection"
_STORAGE_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"


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
            PODS: claims_of_pod,
        },
        workers=1,
    )


def phase(obj: Obj) -> str:
    return str((obj.get("status") or {}).get("phase", "Pending"))


class ClaimView:
    """What there is to decide from: claims, classes and the pods that use them."""

    def __init__(self, context: Context) -> None:
        self.claims = context.informers.of(PERSISTENT_VOLUME_CLAIMS)
        self.volumes = context.informers.of(PERSISTENT_VOLUMES)
        self._classes = context.informers.of(STORAGE_CLASSES)
        self._pods = context.informers.of(PODS)
        self._folder: Path = EnginePaths(context.settings.data_dir / "engine").claims

    def default_class(self) -> Obj | None:
        return default_storage_class(self._classes.list())

    def class_of(self, claim: Obj) -> Obj | None:
        title = claim["spec"].get("storageClassName") or ""
        return self._classes.get("", title) if title else None

    def users(self, claim: Obj) -> list[Obj]:
        return users(key_of(claim), self._pods.list(namespace(claim)))

    def waits(self, claim: Obj, storage_class: Obj) -> bool:
        """Whether the claim's volume has to wait for a pod that uses it."""
        late = storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        return late and not self.users(claim)

    def provision(self, claim: Obj, storage_class: Obj) -> Provision:
        return provision(claim, storage_class, self._folder)


class _Claims:
    """One worker binds them all, so no volume is promised twice."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder("persistentvolume-controller")
        self._view = ClaimView(context)

    def unbound(self, _: Obj) -> list[Key]:
        return [key_of(c) for c in self._view.claims.list() if phase(c) != "Bound"]

    def claims_of_volume(self, volume: Obj) -> list[Key]:
        holder = volume["spec"].get("claimRef")
        if holder:
            return [Key(holder.get("namespace", ""), holder.get("name", ""))]
        return self.unbound(volume)

    async def reconcile(self, key: Key) -> None:
        claim = self._view.claims.get(*key)
        if claim is None:
            return
        if deletion_requested(claim):
            await self._release(claim)
        elif phase(claim) == "Bound":
            await self._check_volume(claim)
        else:
            await self._bind(claim)

    async def _bind(self, claim: Obj) -> None:
        claim = await self._with_class(claim)
        chosen = self._view.class_of(claim)
        if chosen is not None and self._view.waits(claim, chosen):
            message = "waiting for first consumer to be created before binding"
            await self._recorder.normal(claim, "WaitForFirstConsumer", message)
            return
        volume = find_volume(claim, self._view.volumes.list())
        if volume is None:
            volume = await self._provision(claim, chosen)
        elif (volume["spec"].get("claimRef") or {}).get("uid") != uid(claim):
            patch = {"spec": {"claimRef": claim_reference(claim)}}
            volume = await self._client.patch(PERSISTENT_VOLUMES, name(volume), patch)
        if volume is not None:
            await self._complete(claim, volume)

    async def _with_class(self, claim: Obj) -> Obj:
        """A claim that names no class gets the default one; ``""`` means none."""
        if claim["spec"].get("storageClassName") is not None:
            return claim
        chosen = self._view.default_class()
        if chosen is None:
            return claim
        return await self._change(claim, {"spec": {"storageClassName": name(chosen)}})

    async def _provision(self, claim: Obj, chosen: Obj | None) -> Obj | None:
        if chosen is None or claim["spec"].get("volumeName"):
            await self._explain(claim)
            return None
        if chosen["provisioner"] != PROVISIONER:
            await self._leave_to(claim, chosen["provisioner"])
            return None
        try:
            wanted = self._view.provision(claim, chosen)
            filled = data_source(claim) is None or wanted.folder.exists()
        except ProvisionError as error:
            message = f"failed to provision volume with StorageClass {name(chosen)!r}: {error}"
            await self._recorder.warning(claim, "ProvisioningFailed", message)
            return None
        return await self._create(claim, wanted.volume) if filled else None

    async def _create(self, claim: Obj, volume: Obj) -> Obj:
        title = name(volume)
        try:
            created = await self._client.create(PERSISTENT_VOLUMES, volume)
        except AlreadyExists:
            return await self._client.get(PERSISTENT_VOLUMES, title)
        message = f"Successfully provisioned volume {title}"
        await self._recorder.normal(claim, "ProvisioningSucceeded", message)
        return created

    async def _leave_to(self, claim: Obj, provisioner: str) -> None:
        """Somebody else's provisioner looks for its name on the claims that it is to serve."""
        annotation = {_STORAGE_PROVISIONER: provisioner}
        if (claim["metadata"].get("annotations") or {}).items() & annotation.items():
            return
        await self._change(claim, {"metadata": {"annotations": annotation}})
        message = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator."
        )
        await self._recorder.normal(claim, "ExternalProvisioning", message)

    async def _explain(self, claim: Obj) -> None:
        title = claim["spec"].get("storageClassName") or ""
        if wanted := claim["spec"].get("volumeName"):
            volume = self._view.volumes.get("", wanted)
            if volume is None:
                message = f'volume "{wanted}" not found'
                await self._recorder.warning(claim, "FailedBinding", message)
            elif why := mismatch(volume, claim):
                message = f'Cannot bind to requested volume "{wanted}": {why}'
                await self._recorder.warning(claim, "VolumeMismatch", message)
            else:
                message = f'volume "{wanted}" already bound to a different claim.'
                await self._recorder.warning(claim, "FailedBinding", message)
        elif title:
            message = f'storageclass.storage.k8s.io "{title}" not found'
            await self._recorder.warning(claim, "ProvisioningFailed", message)
        else:
            message = "no persistent volumes available for this claim and no storage class is set"
            await self._recorder.normal(claim, "FailedBinding", message)

    async def _complete(self, claim: Obj, volume: Obj) -> None:
        patch = {
            "metadata": {
                "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
                "finalizers": with_finalizer(claim, _PROTECTION),
            },
            "spec": {"volumeName": name(volume)},
        }
        bound = await self._change(claim, patch)
        status = {
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": volume["spec"].get("capacity") or {},
        }
        await write_status(self._client, PERSISTENT_VOLUME_CLAIMS, bound, status)

    async def _check_volume(self, claim: Obj) -> None:
        title = claim["spec"].get("volumeName", "")
        if (volume := self._view.volumes.get("", title)) is not None:
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
        chosen = self._view.class_of(claim)
        if chosen is None or not chosen.get("allowVolumeExpansion"):
            message = "the storage class does not allow volumes to grow (allowVolumeExpansion)"
            await self._recorder.warning(claim, "VolumeResizeFailed", message)
            return
        if chosen["provisioner"] != PROVISIONER:
            return
        capacity = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        await self._client.patch(PERSISTENT_VOLUMES, name(volume), {"spec": {"capacity": capacity}})
        status = {**claim["status"], "capacity": capacity, "allocatedResources": capacity}
        await write_status(self._client, PERSISTENT_VOLUME_CLAIMS, claim, status)
        message = f"Resize volume {name(volume)} succeeded"
        await self._recorder.normal(claim, "VolumeResizeSuccessful", message)

    async def _release(self, claim: Obj) -> None:
        if not self._view.users(claim):
            await remove_finalizer(self._client, PERSISTENT_VOLUME_CLAIMS, claim, _PROTECTION)

    async def _change(self, claim: Obj, patch: Obj) -> Obj:
        return await self._client.patch(
            PERSISTENT_VOLUME_CLAIMS, name(claim), patch, namespace(claim)
        )
