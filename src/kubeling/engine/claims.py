"""Persistent volume claims on one machine: a folder each, bound as soon as it is asked for.

Two controllers, as upstream has them: one binds claims (to a volume somebody made that fits, else
to a new one in the data directory), one looks after volumes whose claim is gone. The folder itself
is made when a pod mounts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubeling.engine.podspec import spec
from kubeling.engine.trees import remove_tree
from kubeling.kube.client import Client
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Key, Obj, deletion_requested, name, namespace, new_object, uid
from kubeling.kube.quantities import parse_quantity
from kubeling.kube.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
)

__all__ = ["LocalVolumes", "storage_class"]

PROVISIONER: Final = "kubeling.dev/local"
DEFAULT_CLASS: Final = "standard"
_IS_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"


def storage_class() -> Obj:
    """The default StorageClass: folders in the data directory."""
    return new_object(
        STORAGE_CLASSES,
        DEFAULT_CLASS,
        annotations={_IS_DEFAULT: "true"},
        provisioner=PROVISIONER,
        reclaimPolicy="Delete",
        volumeBindingMode="Immediate",
        allowVolumeExpansion=True,
    )


class LocalVolumes:
    """Binds claims and frees volumes."""

    def __init__(self, client: Client, informers: Informers, folder: Path) -> None:
        self._client = client
        self._informers = informers
        self._folder = folder

    def controllers(self) -> list[Controller]:
        """What to run."""
        return [
            Controller(
                "volume-claims",
                PERSISTENT_VOLUME_CLAIMS,
                self.bind,
                watches={PERSISTENT_VOLUMES: self._claims_of},
                workers=2,
            ),
            Controller(
                "volumes",
                PERSISTENT_VOLUMES,
                self.free,
                watches={PERSISTENT_VOLUME_CLAIMS: _volume_of},
                workers=1,
            ),
        ]

    async def publish_class(self) -> None:
        """Creates the default StorageClass, if nobody has."""
        try:
            await self._client.create(STORAGE_CLASSES, storage_class())
        except AlreadyExists:
            return

    async def bind(self, key: Key) -> None:
        """Gives a claim its volume and says so."""
        claim = self._informers.of(PERSISTENT_VOLUME_CLAIMS).get(*key)
        if claim is None or deletion_requested(claim):
            return
        status = claim.get("status") or {}
        volume = await self._volume(claim)
        if volume is None or status.get("phase") == "Bound":
            return
        await self._take(volume, claim)
        if spec(claim).get("volumeName") != name(volume):
            patch = {"spec": {"volumeName": name(volume)}}
            await self._client.patch(PERSISTENT_VOLUME_CLAIMS, key.name, patch, key.namespace)
        bound = {
            "phase": "Bound",
            "accessModes": spec(volume).get("accessModes") or [],
            "capacity": spec(volume).get("capacity") or {},
        }
        await self._client.patch_status(PERSISTENT_VOLUME_CLAIMS, key.name, bound, key.namespace)

    async def free(self, key: Key) -> None:
        """A volume without its claim goes, or waits to be taken care of."""
        volume = self._informers.of(PERSISTENT_VOLUMES).get(*key)
        reference = spec(volume or {}).get("claimRef")
        if volume is None:
            return
        if not reference:
            await self._set_phase(volume, "Available")
            return
        if await self._client.find(
            PERSISTENT_VOLUME_CLAIMS, reference["name"], reference["namespace"]
        ):
            return
        if spec(volume).get("persistentVolumeReclaimPolicy") != "Delete":
            await self._set_phase(volume, "Released")
            return
        await self._client.delete(PERSISTENT_VOLUMES, key.name, missing_ok=True)
        await asyncio.to_thread(self._remove_folder, volume)

    def _remove_folder(self, volume: Obj) -> None:
        path = Path((spec(volume).get("hostPath") or {}).get("path") or "/")
        if path.is_relative_to(self._folder) and path.exists():
            remove_tree(path)

    async def _volume(self, claim: Obj) -> Obj | None:
        if wanted := spec(claim).get("volumeName"):
            return await self._client.find(PERSISTENT_VOLUMES, wanted)
        volumes = self._informers.of(PERSISTENT_VOLUMES).list()
        own = [v for v in volumes if (spec(v).get("claimRef") or {}).get("uid") == uid(claim)]
        if found := own or [v for v in volumes if fits(claim, v)]:
            return min(found, key=lambda v: _size(spec(v).get("capacity")))
        if spec(claim).get("storageClassName", DEFAULT_CLASS) == "":
            return None  # only a volume somebody makes will do
        return await self._provision(claim)

    async def _provision(self, claim: Obj) -> Obj:
        volume = new_volume(claim, self._folder)
        try:
            return await self._client.create(PERSISTENT_VOLUMES, volume)
        except AlreadyExists:
            return await self._client.get(PERSISTENT_VOLUMES, name(volume))

    async def _take(self, volume: Obj, claim: Obj) -> None:
        reference = spec(volume).get("claimRef") or {}
        if reference.get("uid") != uid(claim):
            patch = {"spec": {"claimRef": claim_reference(claim)}}
            await self._client.patch(PERSISTENT_VOLUMES, name(volume), patch)
        await self._set_phase(volume, "Bound")

    async def _set_phase(self, volume: Obj, phase: str) -> None:
        if (volume.get("status") or {}).get("phase") != phase:
            await self._client.patch_status(PERSISTENT_VOLUMES, name(volume), {"phase": phase})

    def _claims_of(self, volume: Obj) -> Sequence[Key]:
        """A volume may serve the claim it names, or any that waits."""
        if reference := spec(volume).get("claimRef"):
            return [Key(reference["namespace"], reference["name"])]
        claims = self._informers.of(PERSISTENT_VOLUME_CLAIMS).list()
        return [Key(namespace(c), name(c)) for c in claims if not spec(c).get("volumeName")]


def fits(claim: Obj, volume: Obj) -> bool:
    """Whether an unclaimed volume satisfies a claim."""
    offered, wanted = spec(volume), spec(claim)
    if offered.get("claimRef") or deletion_requested(volume):
        return False
    if (wanted.get("storageClassName") or "") != (offered.get("storageClassName") or ""):
        return False
    modes = set(wanted.get("accessModes") or ())
    labels = volume["metadata"].get("labels") or {}
    selector = (wanted.get("selector") or {}).get("matchLabels") or {}
    return (
        modes <= set(offered.get("accessModes") or ())
        and all(labels.get(key) == value for key, value in selector.items())
        and _size(offered.get("capacity")) >= _size(_requested(claim))
    )


def new_volume(claim: Obj, folder: Path) -> Obj:
    """A volume made for a claim: a folder in the data directory."""
    path = folder / f"{namespace(claim)}-{name(claim)}-{uid(claim)[:8]}"
    return new_object(
        PERSISTENT_VOLUMES,
        f"pvc-{uid(claim)}",
        annotations={"pv.kubernetes.io/provisioned-by": PROVISIONER},
        spec={
            "accessModes": spec(claim).get("accessModes") or ["ReadWriteOnce"],
            "capacity": {"storage": _requested(claim)["storage"]},
            "claimRef": claim_reference(claim),
            "hostPath": {"path": str(path), "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec(claim).get("storageClassName") or DEFAULT_CLASS,
            "volumeMode": "Filesystem",
        },
    )


def claim_reference(claim: Obj) -> Obj:
    """How a volume names its claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": namespace(claim),
        "name": name(claim),
        "uid": uid(claim),
    }


def _requested(claim: Obj) -> Obj:
    requests = (spec(claim).get("resources") or {}).get("requests") or {}
    return {"storage": requests.get("storage", "1Gi")}


def _size(capacity: Obj | None) -> float:
    return float(parse_quantity((capacity or {}).get("storage", 0)))


def _volume_of(claim: Obj) -> Sequence[Key]:
    volume = spec(claim).get("volumeName")
    return [Key("", volume)] if volume else []
