"""What goes with what: garbage collection, namespaces, claims and their folders."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

from tests.engine.workloads.cluster import Cluster, PretendNode, workload
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.engine.workloads import podgc
from kubeling.engine.workloads.namespaces import deletion_conditions
from kubeling.engine.workloads.podgc import disrupted_for
from kubeling.kube.controller import run_controllers
from kubeling.kube.crd import crd
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, condition, name, new_object, owner_reference
from kubeling.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    RESOURCE_QUOTAS,
    Resource,
)

ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False)
WIDGETS = Resource("example.com", "v1", "Widget", "widgets")


def config_map(title: str, *owners: Obj, **reference: bool) -> Obj:
    made = new_object(CONFIG_MAPS, title, "default")
    made["metadata"]["ownerReferences"] = [
        {**owner_reference(owner, controller=False), **reference} for owner in owners
    ]
    return made


async def widget(cluster: Cluster, title: str = "w") -> Obj:
    if not await cluster.exists(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS.qualified):
        await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, crd(WIDGETS, ANY))
    return await cluster.client.create(WIDGETS, new_object(WIDGETS, title, "default", spec={}))


async def test_what_a_custom_resource_owns_goes_with_it(cluster: Cluster) -> None:
    owner = await widget(cluster)
    await cluster.client.create(CONFIG_MAPS, config_map("child", owner))
    await cluster.client.delete(WIDGETS, "w", "default")
    await cluster.until_gone(CONFIG_MAPS, "child")


async def test_an_owner_that_never_was_counts_as_gone(cluster: Cluster) -> None:
    owner = await cluster.client.create(CONFIG_MAPS, config_map("owner"))
    await cluster.client.delete(CONFIG_MAPS, "owner", "default")
    await cluster.client.create(CONFIG_MAPS, config_map("late", owner))
    await cluster.until_gone(CONFIG_MAPS, "late")


async def test_what_a_kind_of_the_whole_cluster_owns_goes_with_it(cluster: Cluster) -> None:
    made = new_object(RUNTIME_CLASSES, "quick", handler="quick")
    owner = await cluster.client.create(RUNTIME_CLASSES, made)
    await cluster.client.create(CONFIG_MAPS, config_map("mine", owner))
    await cluster.client.delete(RUNTIME_CLASSES, "quick")
    await cluster.until_gone(CONFIG_MAPS, "mine")


async def test_one_of_two_owners_is_enough_to_stay(cluster: Cluster) -> None:
    first = await cluster.client.create(CONFIG_MAPS, config_map("first"))
    second = await cluster.client.create(CONFIG_MAPS, config_map("second"))
    await cluster.client.create(CONFIG_MAPS, config_map("child", first, second))
    await cluster.client.delete(CONFIG_MAPS, "first", "default")
    child = await cluster.until(
        CONFIG_MAPS, "child", lambda c: len(c["metadata"].get("ownerReferences", ())) == 1
    )
    assert child["metadata"]["ownerReferences"][0]["name"] == "second"


async def test_a_foreground_deletion_waits_for_blocking_dependents(cluster: Cluster) -> None:
    owner = await cluster.client.create(CONFIG_MAPS, config_map("owner"))
    child = config_map("child", owner, blockOwnerDeletion=True)
    child["metadata"]["finalizers"] = ["example.com/hold"]
    await cluster.client.create(CONFIG_MAPS, child)
    await cluster.client.delete(CONFIG_MAPS, "owner", "default", propagation="Foreground")
    await cluster.until(CONFIG_MAPS, "child", lambda c: "deletionTimestamp" in c["metadata"])
    assert await cluster.exists(CONFIG_MAPS, "owner")
    await cluster.client.patch(CONFIG_MAPS, "child", {"metadata": {"finalizers": None}}, "default")
    await cluster.until_gone(CONFIG_MAPS, "owner")


async def test_orphans_stay_without_their_owner(cluster: Cluster) -> None:
    owner = await cluster.client.create(CONFIG_MAPS, config_map("owner"))
    await cluster.client.create(CONFIG_MAPS, config_map("child", owner))
    await cluster.client.delete(CONFIG_MAPS, "owner", "default", propagation="Orphan")
    await cluster.until_gone(CONFIG_MAPS, "owner")
    child = await cluster.client.get(CONFIG_MAPS, "child", "default")
    assert not child["metadata"].get("ownerReferences")


async def test_a_deleted_namespace_takes_everything_along(cluster: Cluster) -> None:
    await cluster.client.create(NAMESPACES, new_object(NAMESPACES, "team"))
    made = workload("Deployment", replicas=2)
    made["metadata"]["namespace"] = "team"
    await cluster.client.create(DEPLOYMENTS, made)
    await cluster.until(
        DEPLOYMENTS, "web", lambda d: (d.get("status") or {}).get("readyReplicas") == 2, "team"
    )
    await cluster.client.delete(NAMESPACES, "team")
    await cluster.until_gone(NAMESPACES, "team")
    assert not (await cluster.client.list(PODS, "team")).items


async def test_a_namespace_says_what_holds_it(cluster: Cluster) -> None:
    await cluster.client.create(NAMESPACES, new_object(NAMESPACES, "team"))
    held = new_object(CONFIG_MAPS, "held", "team")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await cluster.client.create(CONFIG_MAPS, held)
    await cluster.client.delete(NAMESPACES, "team")
    found = await cluster.until(
        NAMESPACES, "team", lambda n: condition(n, "NamespaceFinalizersRemaining") is not None
    )
    told = {c["type"]: (c["status"], c["message"]) for c in found["status"]["conditions"]}
    assert told == {
        "NamespaceDeletionDiscoveryFailure": ("False", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False",
            "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            "True",
            "Some resources are remaining: configmaps. has 1 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 "
            "resource instances",
        ),
    }
    await cluster.client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "team")
    await cluster.until_gone(NAMESPACES, "team")


def test_a_namespace_says_what_could_not_be_deleted() -> None:
    told = deletion_conditions({}, ["widgets is forbidden", "gadgets is broken"])
    assert told["NamespaceDeletionContentFailure"] == (
        True,
        "ContentDeletionFailed",
        "Failed to delete all resource types, 2 remaining: gadgets is broken, widgets is forbidden",
    )
    assert told["NamespaceContentRemaining"][0] is False


async def test_pods_of_a_lost_node_fail_and_go(cluster: Cluster) -> None:
    held = workload("Pod", "lost", "v1")
    held["spec"] = {"containers": [{"name": "main", "image": "pause"}]}
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await cluster.client.create(PODS, held)
    await cluster.until(PODS, "lost", lambda p: condition(p, "Ready"))
    await cluster.client.delete(NODES, "here")
    found = await cluster.until(PODS, "lost", lambda p: condition(p, "DisruptionTarget"))
    assert found["status"]["phase"] == "Failed"
    said = condition(found, "DisruptionTarget")
    assert (said.reason, said.message) == ("DeletionByPodGC", "PodGC: node no longer exists")
    await cluster.client.patch(PODS, "lost", {"metadata": {"finalizers": None}}, "default")
    await cluster.until_gone(PODS, "lost")


async def test_a_disruption_that_never_came_is_taken_back(cluster: Cluster) -> None:
    made = workload("Pod", "spared", "v1")
    made["spec"] = {"containers": [{"name": "main", "image": "pause"}]}
    await cluster.client.create(PODS, made)
    running = await cluster.until(PODS, "spared", lambda p: condition(p, "Ready"))
    said = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"conditions": [*running["status"]["conditions"], said]}
    await cluster.client.patch_status(PODS, "spared", status, "default")
    await cluster.until(
        PODS,
        "spared",
        lambda p: (found := condition(p, "DisruptionTarget")) and found.status == "False",
    )


def test_how_long_a_disruption_is_waited_for() -> None:
    now = dt.datetime(2026, 1, 1, 0, 1, tzinfo=dt.UTC)
    said = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    assert disrupted_for({"status": {"conditions": [said]}}, now) == 60
    assert disrupted_for({"status": {"conditions": [said]}}, now + dt.timedelta(hours=1)) == 0
    by_kubelet = {**said, "reason": "TerminationByKubelet"}
    assert disrupted_for({"status": {"conditions": [by_kubelet]}}, now) is None
    assert disrupted_for({"status": {}}, now) is None


async def test_of_many_ended_pods_the_oldest_go(tmp_path: Path) -> None:
    async with (
        running_server(data_dir=tmp_path) as running,
        Informers(running.client) as informers,
    ):
        context = Context(running.client, informers, Settings(tmp_path, tmp_path))
        node = PretendNode(running.client)
        await node.register()
        cluster = Cluster(running.client, informers, node)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(run_controllers([podgc.controller(context, 2)], informers)),
                group.create_task(node.run(informers)),
            ]
            for number in range(4):
                made = workload("Pod", f"p{number}", "v1")
                made["spec"] = {"containers": [{"name": "main", "image": "pause"}]}
                made["metadata"]["labels"] = {"outcome": "Succeeded"}
                await running.client.create(PODS, made)
            left = await cluster.until_list(PODS, lambda pods: len(pods) == 2)
            assert [name(pod) for pod in left] == ["p2", "p3"]
            for task in tasks:
                task.cancel()


def claim(title: str = "data", size: str = "1Gi") -> Obj:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return new_object(PERSISTENT_VOLUME_CLAIMS, title, "default", spec=spec)


def fill(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "file").write_text("kept")


def bound(obj: Obj) -> bool:
    return (obj.get("status") or {}).get("phase") == "Bound"


async def test_a_claim_gets_a_folder_and_the_folder_goes_with_it(cluster: Cluster) -> None:
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
    found = await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data", bound)
    volume = await cluster.until(PERSISTENT_VOLUMES, found["spec"]["volumeName"], bound)
    folder = Path(volume["spec"]["hostPath"]["path"])
    await asyncio.to_thread(fill, folder)
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    await cluster.until_gone(PERSISTENT_VOLUMES, name(volume))
    assert not await asyncio.to_thread(folder.exists)


async def test_a_claim_in_use_is_not_let_go(cluster: Cluster) -> None:
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
    await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data", bound)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    containers = [{"name": "main", "image": "pause"}]
    pod = new_object(PODS, "user", "default", spec={"containers": containers, "volumes": volumes})
    await cluster.client.create(PODS, pod)
    await cluster.until(PODS, "user", lambda p: p["status"].get("phase") == "Running")
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    await cluster.until(
        PERSISTENT_VOLUME_CLAIMS, "data", lambda c: "deletionTimestamp" in c["metadata"]
    )
    await cluster.client.delete(PODS, "user", "default")
    await cluster.until_gone(PERSISTENT_VOLUME_CLAIMS, "data")


async def test_an_existing_volume_is_used_first(cluster: Cluster) -> None:
    spec = {
        "capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "hostPath": {"path": "/tmp"},
    }
    await cluster.client.create(
        PERSISTENT_VOLUMES, new_object(PERSISTENT_VOLUMES, "mine", spec=spec)
    )
    await cluster.until(
        PERSISTENT_VOLUMES, "mine", lambda v: (v.get("status") or {}).get("phase") == "Available"
    )
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
    found = await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data", bound)
    assert found["spec"]["volumeName"] == "mine"
    assert found["status"]["capacity"] == {"storage": "2Gi"}


async def test_a_claim_can_grow(cluster: Cluster) -> None:
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
    await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data", bound)
    more = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    await cluster.client.patch(PERSISTENT_VOLUME_CLAIMS, "data", more, "default")
    await cluster.until(
        PERSISTENT_VOLUME_CLAIMS, "data", lambda c: c["status"]["capacity"] == {"storage": "3Gi"}
    )


async def test_a_quota_shows_what_is_used(cluster: Cluster) -> None:
    hard = {"pods": "5", "count/configmaps": "10"}
    quota = new_object(RESOURCE_QUOTAS, "limits", "default", spec={"hard": hard})
    await cluster.client.create(RESOURCE_QUOTAS, quota)
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=2))
    found = await cluster.until(
        RESOURCE_QUOTAS,
        "limits",
        lambda q: (q.get("status") or {}).get("used", {}).get("pods") == "2",
    )
    assert found["status"]["hard"] == hard
