"""Claims and their volumes, from the first pod to the last byte."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from tests.engine.workloads.cluster import Cluster

from kubeling.engine.storage.binding import PROVISIONER
from kubeling.engine.storage.snapshot_resources import (
    VOLUME_SNAPSHOT_CONTENTS,
    VOLUME_SNAPSHOTS,
)
from kubeling.kube.errors import Forbidden, Invalid
from kubeling.kube.objects import Obj, name, new_object
from kubeling.kube.resources import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)


def claim(title: str = "data", size: str = "1Gi", **spec: Any) -> Obj:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return new_object(PERSISTENT_VOLUME_CLAIMS, title, "default", spec=body)


def pod(title: str, **volume: Any) -> Obj:
    containers = [{"name": "main", "image": "pause"}]
    volumes = [{"name": "data", **volume}]
    return new_object(PODS, title, "default", spec={"containers": containers, "volumes": volumes})


def phase(wanted: str) -> Any:
    return lambda obj: (obj.get("status") or {}).get("phase") == wanted


async def made(cluster: Cluster, obj: Obj) -> tuple[Obj, Path]:
    """A bound claim and the folder of its volume."""
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, obj)
    return await bound(cluster, name(obj))


async def bound(cluster: Cluster, title: str) -> tuple[Obj, Path]:
    found = await cluster.until(PERSISTENT_VOLUME_CLAIMS, title, phase("Bound"))
    volume = await cluster.client.get(PERSISTENT_VOLUMES, found["spec"]["volumeName"])
    return found, Path(volume["spec"]["hostPath"]["path"])


async def event(cluster: Cluster, reason: str, about: str) -> str:
    """The message of an Event."""

    def holds(events: list[Obj]) -> bool:
        return any(_is(found, reason, about) for found in events)

    events = await cluster.until_list(EVENTS, holds)
    return next(str(e["message"]) for e in events if _is(e, reason, about))


def _is(found: Obj, reason: str, about: str) -> bool:
    return bool(found["reason"] == reason and found["involvedObject"]["name"] == about)


def write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text(text)


def read(folder: Path) -> str:
    return (folder / "file").read_text()


async def test_a_claim_is_pending_until_it_is_bound(cluster: Cluster) -> None:
    created = await cluster.client.create(
        PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="nowhere")
    )
    assert created["status"] == {"phase": "Pending"}
    assert "not found" in await event(cluster, "ProvisioningFailed", "data")


async def test_a_class_may_wait_for_the_first_pod(cluster: Cluster) -> None:
    late = new_object(
        STORAGE_CLASSES, "late", provisioner=PROVISIONER, volumeBindingMode="WaitForFirstConsumer"
    )
    await cluster.client.create(STORAGE_CLASSES, late)
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="late"))
    await event(cluster, "WaitForFirstConsumer", "data")
    assert not (await cluster.client.list(PERSISTENT_VOLUMES)).items
    await cluster.client.create(PODS, pod("user", persistentVolumeClaim={"claimName": "data"}))
    await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data", phase("Bound"))


async def test_a_volume_kept_for_a_claim_and_what_becomes_of_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    spec = {
        "capacity": {"storage": "5Gi"},
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "claimRef": {"namespace": "default", "name": "data"},
        "local": {"path": str(tmp_path / "mine")},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": []}]}},
    }
    await cluster.client.create(
        PERSISTENT_VOLUMES, new_object(PERSISTENT_VOLUMES, "mine", spec=spec)
    )
    await asyncio.to_thread(write, tmp_path / "mine", "kept")
    wanted = claim(storageClassName="", accessModes=["ReadWriteMany"])
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, wanted)
    await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data", phase("Bound"))
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    await cluster.until(PERSISTENT_VOLUMES, "mine", phase("Released"))
    # An administrator gives it free again.
    free = {"spec": {"claimRef": None}}
    await cluster.client.patch(PERSISTENT_VOLUMES, "mine", free)
    await cluster.until(PERSISTENT_VOLUMES, "mine", phase("Available"))
    assert await asyncio.to_thread(read, tmp_path / "mine") == "kept"


async def test_files_that_were_not_made_here_are_never_deleted(
    cluster: Cluster, tmp_path: Path
) -> None:
    spec = {
        "capacity": {"storage": "5Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Delete",
        "storageClassName": "standard",
        "hostPath": {"path": str(tmp_path / "mine")},
    }
    await asyncio.to_thread(write, tmp_path / "mine", "kept")
    await cluster.client.create(
        PERSISTENT_VOLUMES, new_object(PERSISTENT_VOLUMES, "mine", spec=spec)
    )
    await cluster.until(PERSISTENT_VOLUMES, "mine", phase("Available"))
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim(volumeName="mine"))
    await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data", phase("Bound"))
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    failed = await cluster.until(PERSISTENT_VOLUMES, "mine", phase("Failed"))
    assert "Retain" in failed["status"]["message"]
    assert await asyncio.to_thread(read, tmp_path / "mine") == "kept"


async def test_a_claim_says_why_it_cannot_have_the_volume_it_names(cluster: Cluster) -> None:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "hostPath": {"path": "/tmp"},
    }
    await cluster.client.create(
        PERSISTENT_VOLUMES, new_object(PERSISTENT_VOLUMES, "small", spec=spec)
    )
    await cluster.until(PERSISTENT_VOLUMES, "small", phase("Available"))
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim(size="2Gi", volumeName="small"))
    assert await event(cluster, "VolumeMismatch", "data") == (
        'Cannot bind to requested volume "small": requested PV is too small'
    )


async def test_claims_grow_where_their_class_allows_it(cluster: Cluster) -> None:
    await made(cluster, claim())
    more: Obj = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    await cluster.client.patch(PERSISTENT_VOLUME_CLAIMS, "data", more, "default")
    grown = await cluster.until(
        PERSISTENT_VOLUME_CLAIMS, "data", lambda c: c["status"]["capacity"] == {"storage": "3Gi"}
    )
    assert grown["status"]["allocatedResources"] == {"storage": "3Gi"}
    await event(cluster, "VolumeResizeSuccessful", "data")
    fixed = new_object(STORAGE_CLASSES, "fixed", provisioner=PROVISIONER)
    await cluster.client.create(STORAGE_CLASSES, fixed)
    await made(cluster, claim("stiff", storageClassName="fixed"))
    with pytest.raises(Forbidden, match="must support resize"):
        await cluster.client.patch(PERSISTENT_VOLUME_CLAIMS, "stiff", more, "default")


async def test_a_claim_can_begin_as_a_copy_of_another(cluster: Cluster) -> None:
    source = {"kind": "PersistentVolumeClaim", "name": "data"}
    # The copy may be asked for first.
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim("copy", dataSource=source))
    assert "not found" in await event(cluster, "ProvisioningFailed", "copy")
    _, original = await made(cluster, claim())
    _, copy = await bound(cluster, "copy")
    assert copy != original
    await asyncio.to_thread(write, original, "one")
    await asyncio.to_thread(os.symlink, "file", original / "link")
    _, second = await made(cluster, claim("second", dataSourceRef=source))
    await asyncio.to_thread(write, original, "two")
    assert await asyncio.to_thread(read, second) == "one"
    assert await asyncio.to_thread(os.readlink, second / "link") == "file"
    await cluster.client.create(
        PERSISTENT_VOLUME_CLAIMS, claim("small", size="1Mi", dataSource=source)
    )
    message = await event(cluster, "ProvisioningFailed", "small")
    assert "less than the size of its source" in message


def snapshot(title: str = "before", **source: str) -> Obj:
    source = source or {"persistentVolumeClaimName": "data"}
    return new_object(VOLUME_SNAPSHOTS, title, "default", spec={"source": source})


def ready(obj: Obj) -> bool:
    return bool((obj.get("status") or {}).get("readyToUse"))


async def test_a_snapshot_is_restored_into_a_new_claim(cluster: Cluster) -> None:
    # It waits for its claim, and says so.
    await cluster.client.create(VOLUME_SNAPSHOTS, snapshot())
    waiting = await cluster.until(
        VOLUME_SNAPSHOTS, "before", lambda s: (s.get("status") or {}).get("error")
    )
    assert "not found" in waiting["status"]["error"]["message"]
    _, folder = await made(cluster, claim(size="2Gi"))
    taken = await cluster.until(VOLUME_SNAPSHOTS, "before", ready)
    assert taken["status"]["restoreSize"] == "2Gi"
    assert "error" not in taken["status"]
    await asyncio.to_thread(write, folder, "old")
    await cluster.client.create(VOLUME_SNAPSHOTS, snapshot("later"))
    later = await cluster.until(VOLUME_SNAPSHOTS, "later", ready)
    await asyncio.to_thread(write, folder, "new")
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "later"}
    _, restored = await made(cluster, claim("restored", "2Gi", dataSource=source))
    assert await asyncio.to_thread(read, restored) == "old"
    # What is kept goes with the snapshot; what was restored from it stays.
    title = later["status"]["boundVolumeSnapshotContentName"]
    content = await cluster.client.get(VOLUME_SNAPSHOT_CONTENTS, title)
    await cluster.client.delete(VOLUME_SNAPSHOTS, "later", "default")
    await cluster.until_gone(VOLUME_SNAPSHOTS, "later")
    await cluster.until_gone(VOLUME_SNAPSHOT_CONTENTS, title)
    kept = folder.parents[2] / "snapshots" / content["status"]["snapshotHandle"]
    assert not await asyncio.to_thread(kept.exists)
    assert await asyncio.to_thread(read, restored) == "old"


async def test_a_content_that_is_retained_can_be_given_to_another_snapshot(
    cluster: Cluster,
) -> None:
    _, folder = await made(cluster, claim())
    await asyncio.to_thread(write, folder, "old")
    await cluster.client.create(VOLUME_SNAPSHOTS, snapshot())
    taken = await cluster.until(VOLUME_SNAPSHOTS, "before", ready)
    title = taken["status"]["boundVolumeSnapshotContentName"]
    keep = {"spec": {"deletionPolicy": "Retain"}}
    content = await cluster.client.patch(VOLUME_SNAPSHOT_CONTENTS, title, keep)
    await cluster.client.delete(VOLUME_SNAPSHOTS, "before", "default")
    await cluster.until_gone(VOLUME_SNAPSHOTS, "before")
    again = new_object(
        VOLUME_SNAPSHOT_CONTENTS,
        "again",
        spec={
            "deletionPolicy": "Delete",
            "driver": PROVISIONER,
            "source": {"snapshotHandle": content["status"]["snapshotHandle"]},
            "volumeSnapshotRef": {"namespace": "default", "name": "again"},
        },
    )
    await cluster.client.create(VOLUME_SNAPSHOT_CONTENTS, again)
    await cluster.client.create(
        VOLUME_SNAPSHOTS, snapshot("again", volumeSnapshotContentName="again")
    )
    await cluster.until(VOLUME_SNAPSHOTS, "again", ready)
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "again"}
    _, restored = await made(cluster, claim("restored", dataSource=source))
    assert await asyncio.to_thread(read, restored) == "old"


async def test_a_snapshot_has_one_source_for_good(cluster: Cluster) -> None:
    both = snapshot(persistentVolumeClaimName="a", volumeSnapshotContentName="b")
    with pytest.raises(Invalid, match="exactly one of"):
        await cluster.client.create(VOLUME_SNAPSHOTS, both)


async def test_an_ephemeral_claim_comes_and_goes_with_its_pod(cluster: Cluster) -> None:
    template = {
        "metadata": {"labels": {"kind": "scratch"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    ephemeral = {"volumeClaimTemplate": template}
    await cluster.client.create(PODS, pod("worker", ephemeral=ephemeral))
    found, _ = await bound(cluster, "worker-data")
    assert found["metadata"]["labels"] == {"kind": "scratch"}
    await cluster.client.delete(PODS, "worker", "default")
    await cluster.until_gone(PERSISTENT_VOLUME_CLAIMS, "worker-data")


async def test_another_s_claim_is_not_taken_for_an_ephemeral_one(cluster: Cluster) -> None:
    await made(cluster, claim("worker-data"))
    template = {"spec": claim()["spec"]}
    await cluster.client.create(PODS, pod("worker", ephemeral={"volumeClaimTemplate": template}))
    message = await event(cluster, "FailedBinding", "worker")
    assert "was not created for pod" in message
