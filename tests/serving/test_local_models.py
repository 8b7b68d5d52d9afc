"""Models that are on a node before a service starts there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.serving.platform import NAMESPACE, Serving, running_serving

from kubeling.kube.errors import Forbidden, Invalid
from kubeling.kube.objects import Obj, deletion_requested, new_object
from kubeling.kube.resources import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    Resource,
)
from kubeling.serving.localmodel.copies import covers, storage_key
from kubeling.serving.localmodel.resources import (
    LOCAL_MODEL_CACHES,
    LOCAL_MODEL_NAMESPACE_CACHES,
    LOCAL_MODEL_NODE_GROUPS,
    LOCAL_MODEL_NODES,
)
from kubeling.serving.resources import INFERENCE_SERVICES

JOB_NAMESPACE = "kserve-localmodel-jobs"
URI = "gs://bucket/iris"


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """With one node of the group ``ssd``, and one that is not of it."""
    async with running_serving(tmp_path) as found:
        if await found.client.find(NAMESPACES, NAMESPACE) is None:
            await found.client.create(NAMESPACES, new_object(NAMESPACES, NAMESPACE))
        for title in ("fast", "slow"):
            node = new_object(NODES, title, labels={"kubernetes.io/hostname": title})
            await found.client.create(NODES, node)
            status = {"conditions": [{"type": "Ready", "status": "True"}]}
            await found.client.patch_status(NODES, title, status)
        await found.client.create(LOCAL_MODEL_NODE_GROUPS, group("ssd", "fast"))
        yield found


def group(title: str, node: str) -> Obj:
    wanted = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    terms = [{"matchExpressions": [wanted]}]
    spec = {
        "storageLimit": "1Gi",
        "persistentVolumeSpec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "standard",
            "capacity": {"storage": "1Gi"},
            "local": {"path": "/models"},
            "persistentVolumeReclaimPolicy": "Delete",
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
        "persistentVolumeClaimSpec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "standard",
        },
    }
    return new_object(LOCAL_MODEL_NODE_GROUPS, title, spec=spec)


def cache(title: str, where: str = "", uri: str = URI) -> Obj:
    spec = {"sourceModelUri": uri, "modelSize": "1Mi", "nodeGroups": ["ssd"]}
    kind = LOCAL_MODEL_NAMESPACE_CACHES if where else LOCAL_MODEL_CACHES
    return new_object(kind, title, where, spec=spec)


async def job(serving: Serving, verb: str = "-get-") -> Obj:
    """The Job that was sent to a node."""
    async for event in serving.client.watch(JOBS, JOB_NAMESPACE):
        if event.type in ("ADDED", "MODIFIED") and verb in event.object["metadata"]["name"]:
            return event.object
    raise AssertionError("the watch ended")


async def finish(serving: Serving, found: Obj) -> None:
    """The node ends a Job well."""
    title = found["metadata"]["name"]
    await serving.client.patch_status(JOBS, title, {"succeeded": 1}, JOB_NAMESPACE)


async def until(
    serving: Serving, resource: Resource, title: str, holds: Callable[[Obj], bool]
) -> Obj:
    async for event in serving.client.watch(resource, fields=f"metadata.name={title}"):
        if event.type in ("ADDED", "MODIFIED") and holds(event.object):
            return event.object
    raise AssertionError("the watch ended")


def is_on_the_node(found: Obj) -> bool:
    return (found.get("status") or {}).get("nodeStatus") == {"fast": "NodeDownloaded"}


async def test_a_model_is_fetched_to_the_nodes_of_a_group(serving: Serving) -> None:
    await serving.client.create(LOCAL_MODEL_CACHES, cache("iris"))
    found = await job(serving)
    spec = found["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "fast"}
    assert spec["containers"][0]["args"] == [URI, "/mnt/models"]
    mount = spec["containers"][0]["volumeMounts"][0]
    assert mount["subPath"] == f"models/{storage_key(URI)}"
    assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == "iris-ssd"
    claim = await serving.client.get(PERSISTENT_VOLUME_CLAIMS, "iris-ssd", JOB_NAMESPACE)
    assert claim["spec"]["volumeName"] == "iris-ssd-download"
    pending = {"fast": "NodeDownloadPending"}
    await until(
        serving,
        LOCAL_MODEL_CACHES,
        "iris",
        lambda o: o.get("status", {}).get("nodeStatus") == pending,
    )

    await finish(serving, found)
    ready = await until(serving, LOCAL_MODEL_CACHES, "iris", is_on_the_node)
    assert ready["status"]["copies"] == {"available": 1, "total": 1, "failed": 0}
    node = await serving.client.get(LOCAL_MODEL_NODES, "fast")
    assert node["status"]["modelStatus"] == {"iris": "ModelDownloaded"}
    assert await serving.client.find(LOCAL_MODEL_NODES, "slow") is None


async def test_what_could_not_be_fetched_says_why(serving: Serving) -> None:
    await serving.client.create(LOCAL_MODEL_CACHES, cache("iris"))
    found = await job(serving)
    template = found["spec"]["template"]
    pod = new_object(PODS, "get-1", JOB_NAMESPACE, labels=template["metadata"]["labels"])
    await serving.client.create(PODS, {**pod, "spec": template["spec"]}, JOB_NAMESPACE)
    ended = {"exitCode": 1, "reason": "Error", "message": "fetching\n403: bucket is private\n"}
    entry = {"name": "storage-initializer", "image": "x", "imageID": "", "restartCount": 0}
    entry |= {"ready": False, "state": {"terminated": ended}}
    failed = {"phase": "Failed", "containerStatuses": [entry]}
    await serving.client.patch_status(PODS, "get-1", failed, JOB_NAMESPACE)
    conditions = [{"type": "Failed", "status": "True"}]
    await serving.client.patch_status(
        JOBS, found["metadata"]["name"], {"conditions": conditions}, JOB_NAMESPACE
    )
    event = await serving.event("node fast: 403: bucket is private")
    assert (event["reason"], event["involvedObject"]["name"]) == ("ModelDownloadError", "iris")


async def test_a_node_of_two_groups_gets_a_model_for_the_first(serving: Serving) -> None:
    await serving.client.create(LOCAL_MODEL_NODE_GROUPS, group("also", "fast"))
    wanted = cache("iris")
    wanted["spec"]["nodeGroups"] = ["ssd", "also"]
    await serving.client.create(LOCAL_MODEL_CACHES, wanted)
    await finish(serving, await job(serving))
    seen: list[str] = []

    def is_fetched(node: Obj) -> bool:
        seen.extend(entry["nodeGroup"] for entry in node["spec"]["localModels"])
        return "ModelDownloaded" in (node.get("status") or {}).get("modelStatus", {}).values()

    await until(serving, LOCAL_MODEL_NODES, "fast", is_fetched)
    await until(serving, LOCAL_MODEL_CACHES, "iris", is_on_the_node)
    assert set(seen) == {"ssd"}


async def test_a_service_mounts_what_is_there_and_fetches_nothing(serving: Serving) -> None:
    await serving.client.create(LOCAL_MODEL_CACHES, cache("iris"))
    await finish(serving, await job(serving))
    await until(serving, LOCAL_MODEL_CACHES, "iris", is_on_the_node)

    isvc = await serving.service("iris", predictor={"sklearn": {"storageUri": f"{URI}/v2"}})
    assert isvc["metadata"]["labels"]["internal.serving.kserve.io/localmodel"] == "iris"
    deployment = await serving.exists(DEPLOYMENTS, "iris-predictor-00001")
    pod = deployment["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    claimed = {"claimName": "iris-ssd", "readOnly": True}
    assert pod["volumes"][0]["persistentVolumeClaim"] == claimed
    mount = pod["containers"][0]["volumeMounts"][0]
    assert mount["subPath"] == f"models/{storage_key(URI)}/v2"
    await serving.exists(PERSISTENT_VOLUME_CLAIMS, "iris-ssd")
    used = [{"name": "iris", "namespace": NAMESPACE}]
    await until(
        serving, LOCAL_MODEL_CACHES, "iris", lambda o: o["status"]["inferenceServices"] == used
    )
    with pytest.raises(Forbidden, match="LocalModelCache iris is being used by InferenceService"):
        await serving.client.delete(LOCAL_MODEL_CACHES, "iris")


async def test_a_deleted_cache_takes_its_files_along(serving: Serving) -> None:
    await serving.client.create(LOCAL_MODEL_CACHES, cache("iris"))
    await finish(serving, await job(serving))
    await until(serving, LOCAL_MODEL_CACHES, "iris", is_on_the_node)
    await serving.client.delete(LOCAL_MODEL_CACHES, "iris")
    removal = await job(serving, "-remove-")
    args = removal["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["--remove", f"/mnt/models/{storage_key(URI)}"]
    assert await serving.client.find(LOCAL_MODEL_CACHES, "iris") is not None
    await finish(serving, removal)
    await until(serving, LOCAL_MODEL_NODES, "fast", lambda o: not o["spec"]["localModels"])
    async for event in serving.client.watch(LOCAL_MODEL_CACHES):
        if event.type == "DELETED":
            break


@pytest.mark.parametrize("where", ["", NAMESPACE])
async def test_a_cache_outlives_its_group_without_a_trace(serving: Serving, where: str) -> None:
    made = cache("iris", where)
    kind = LOCAL_MODEL_NAMESPACE_CACHES if where else LOCAL_MODEL_CACHES
    await serving.client.create(kind, made)
    await finish(serving, await job(serving))
    await until(serving, kind, "iris", is_on_the_node)
    await serving.client.delete(LOCAL_MODEL_NODE_GROUPS, "ssd")
    # It has seen that the group is gone.
    await until(serving, kind, "iris", lambda o: not (o.get("status") or {}).get("nodeStatus"))
    async for event in serving.client.watch(kind):
        if event.type == "ADDED":
            await serving.client.delete(kind, "iris", where)
        if event.type == "DELETED":
            break
    node = await serving.client.get(LOCAL_MODEL_NODES, "fast")
    assert not node["spec"]["localModels"]
    if where:
        # The cluster's own go with their owner.
        volumes = (await serving.client.list(PERSISTENT_VOLUMES)).items
        assert all(deletion_requested(volume) for volume in volumes)


async def test_a_namespaces_own_cache_goes_before_the_clusters(serving: Serving) -> None:
    await serving.client.create(LOCAL_MODEL_CACHES, cache("iris"))
    await serving.client.create(LOCAL_MODEL_NAMESPACE_CACHES, cache("own", NAMESPACE))
    await serving.exists(LOCAL_MODEL_NAMESPACE_CACHES, "own")
    isvc = await serving.service("iris", predictor={"sklearn": {"storageUri": URI}})
    marks = isvc["metadata"]["labels"]
    assert marks["internal.serving.kserve.io/localmodel"] == "own"
    assert marks["internal.serving.kserve.io/localmodel-namespace"] == NAMESPACE
    await serving.exists(PERSISTENT_VOLUME_CLAIMS, "own-ssd")
    volume = await until(serving, PERSISTENT_VOLUMES, f"own-ssd-{NAMESPACE}", lambda _: True)
    assert "ownerReferences" not in volume["metadata"]
    message = f"LocalModelNamespaceCache {NAMESPACE}/own is being used by InferenceService"
    with pytest.raises(Forbidden, match=message):
        await serving.client.delete(LOCAL_MODEL_NAMESPACE_CACHES, "own", NAMESPACE)


async def test_a_service_may_do_without_and_forgets_a_cache_that_is_not_its_own(
    serving: Serving,
) -> None:
    await serving.client.create(LOCAL_MODEL_CACHES, cache("iris"))
    isvc = await serving.service("iris", predictor={"sklearn": {"storageUri": URI}})
    assert "internal.serving.kserve.io/localmodel" in isvc["metadata"]["labels"]
    off = {"metadata": {"annotations": {"serving.kserve.io/disable-localmodel": "true"}}}
    isvc = await serving.client.patch(INFERENCE_SERVICES, "iris", off, NAMESPACE)
    assert "internal.serving.kserve.io/localmodel" not in isvc["metadata"].get("labels", {})


async def test_what_is_refused_in_a_cache(serving: Serving) -> None:
    await serving.client.create(LOCAL_MODEL_CACHES, cache("iris"))
    with pytest.raises(Invalid, match=f"LocalModelCache iris has the same StorageURI {URI}"):
        await serving.client.create(LOCAL_MODEL_CACHES, cache("other"))
    elsewhere = {"spec": {"sourceModelUri": "gs://bucket/other"}}
    with pytest.raises(Invalid, match="StorageUri is immutable"):
        await serving.client.patch(LOCAL_MODEL_CACHES, "iris", elsewhere)
    lost = cache("lost", NAMESPACE)
    lost["spec"]["nodeGroups"] = ["nowhere"]
    with pytest.raises(Invalid, match=r"spec.nodeGroups\[0\]: Not found: .* NodeGroup nowhere"):
        await serving.client.create(LOCAL_MODEL_NAMESPACE_CACHES, lost)
    for kind in (LOCAL_MODEL_CACHES, LOCAL_MODEL_NODE_GROUPS, LOCAL_MODEL_NODES):
        with pytest.raises(Invalid, match="spec: Required value"):
            await serving.client.create(kind, new_object(kind, "empty"))


@pytest.mark.parametrize(
    ("uri", "covered"),
    [
        (URI, True),
        (f"{URI}/", True),
        (f"{URI}/v2/model", True),
        (f"{URI}2", False),
        ("gs://b", False),
    ],
)
def test_a_cache_covers_its_folder(uri: str, covered: bool) -> None:
    assert covers(f"{URI}/", uri) is covered
