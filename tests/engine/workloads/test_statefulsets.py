"""StatefulSets and DaemonSets as users rely on them."""

from __future__ import annotations

from tests.engine.workloads.cluster import Cluster, template, workload

from kubeling.kube.objects import labels, name, uid
from kubeling.kube.resources import DAEMON_SETS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS

CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}


def ready(count: int):
    return lambda s: (s.get("status") or {}).get("readyReplicas", 0) == count


def settled(obj) -> bool:
    status = obj.get("status") or {}
    return (
        status.get("observedGeneration") == obj["metadata"]["generation"]
        and status.get("currentRevision") == status.get("updateRevision")
        and status.get("readyReplicas") == obj["spec"]["replicas"]
    )


async def test_pods_have_ordinals_host_names_and_claims(cluster: Cluster) -> None:
    made = workload("StatefulSet", replicas=2, serviceName="web", volumeClaimTemplates=[CLAIM])
    await cluster.client.create(STATEFUL_SETS, made)
    await cluster.until(STATEFUL_SETS, "web", ready(2))
    pods = {name(pod): pod for pod in (await cluster.client.list(PODS, "default")).items}
    assert sorted(pods) == ["web-0", "web-1"]
    assert pods["web-1"]["spec"]["hostname"] == "web-1"
    assert pods["web-1"]["spec"]["subdomain"] == "web"
    volume = pods["web-1"]["spec"]["volumes"][0]
    assert volume["persistentVolumeClaim"]["claimName"] == "data-web-1"
    claim = await cluster.until(
        PERSISTENT_VOLUME_CLAIMS,
        "data-web-1",
        lambda c: (c.get("status") or {}).get("phase") == "Bound",
    )
    assert claim["spec"]["storageClassName"] == "standard"


async def test_a_pod_that_is_lost_comes_back_under_its_name(cluster: Cluster) -> None:
    await cluster.client.create(STATEFUL_SETS, workload("StatefulSet", replicas=1))
    await cluster.until(STATEFUL_SETS, "web", ready(1))
    before = await cluster.client.get(PODS, "web-0", "default")
    await cluster.client.delete(PODS, "web-0", "default")
    after = await cluster.until(PODS, "web-0", lambda pod: uid(pod) != uid(before))
    assert name(after) == "web-0"


async def test_an_update_replaces_the_pods_from_the_last_to_the_first(cluster: Cluster) -> None:
    await cluster.client.create(STATEFUL_SETS, workload("StatefulSet", replicas=2))
    await cluster.until(STATEFUL_SETS, "web", settled)
    change = {"spec": {"template": template(image="busybox")}}
    await cluster.client.patch(STATEFUL_SETS, "web", change, "default", type="strategic")
    found = await cluster.until(STATEFUL_SETS, "web", settled)
    pods = (await cluster.client.list(PODS, "default")).items
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"busybox"}
    revisions = {labels(pod)["controller-revision-hash"] for pod in pods}
    assert revisions == {found["status"]["updateRevision"]}


async def test_scaling_down_removes_the_highest_ordinal_and_keeps_its_claim(
    cluster: Cluster,
) -> None:
    made = workload("StatefulSet", replicas=2, volumeClaimTemplates=[CLAIM])
    await cluster.client.create(STATEFUL_SETS, made)
    await cluster.until(STATEFUL_SETS, "web", ready(2))
    await cluster.client.set_scale(STATEFUL_SETS, "web", "default", 1)
    pods = await cluster.until_list(PODS, lambda pods: len(pods) == 1)
    assert name(pods[0]) == "web-0"
    assert await cluster.exists(PERSISTENT_VOLUME_CLAIMS, "data-web-1")


async def test_a_daemon_set_runs_once_on_the_node(cluster: Cluster) -> None:
    await cluster.client.create(DAEMON_SETS, workload("DaemonSet"))
    found = await cluster.until(
        DAEMON_SETS, "web", lambda d: (d.get("status") or {}).get("numberReady") == 1
    )
    assert found["status"]["desiredNumberScheduled"] == 1
    assert found["status"]["updatedNumberScheduled"] == 1
