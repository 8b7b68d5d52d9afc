"""StatefulSets and DaemonSets as users rely on them."""

from __future__ import annotations

from tests.engine.workloads.cluster import Cluster, template, workload

from kubeling.engine.workloads.resources import CONTROLLER_REVISIONS
from kubeling.kube.objects import annotations, controller_of, labels, name, uid
from kubeling.kube.resources import (
    DAEMON_SETS,
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
)

CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}


def ready(count: int):
    return lambda s: (s.get("status") or {}).get("readyReplicas", 0) == count


def told(obj, field: str):
    return (obj.get("status") or {}).get(field)


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


async def test_a_set_says_what_it_does_in_upstreams_words(cluster: Cluster) -> None:
    made = workload("StatefulSet", replicas=1, volumeClaimTemplates=[CLAIM])
    await cluster.client.create(STATEFUL_SETS, made)
    wanted = {
        "Create Claim data-web-0 Pod web-0 in StatefulSet web success",
        "Create Pod web-0 in StatefulSet web successful",
    }
    await cluster.until_list(EVENTS, lambda seen: wanted <= {event["message"] for event in seen})


async def test_claims_go_with_what_is_scaled_away_where_the_set_says_so(cluster: Cluster) -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    made = workload("StatefulSet", replicas=2, volumeClaimTemplates=[CLAIM])
    made["spec"]["persistentVolumeClaimRetentionPolicy"] = policy
    await cluster.client.create(STATEFUL_SETS, made)
    await cluster.until(STATEFUL_SETS, "web", ready(2))
    await cluster.client.set_scale(STATEFUL_SETS, "web", "default", 1)
    left = await cluster.until_list(
        PERSISTENT_VOLUME_CLAIMS, lambda claims: [name(c) for c in claims] == ["data-web-0"]
    )
    assert not left[0]["metadata"].get("ownerReferences")


async def test_revisions_outlive_the_set_and_serve_the_next(cluster: Cluster) -> None:
    made = workload("StatefulSet", replicas=1)
    made["metadata"]["annotations"] = {"kubernetes.io/change-cause": "first"}
    await cluster.client.create(STATEFUL_SETS, made)
    await cluster.until(STATEFUL_SETS, "web", settled)
    [before] = (await cluster.client.list(CONTROLLER_REVISIONS, "default")).items
    assert annotations(before)["kubernetes.io/change-cause"] == "first"
    await cluster.client.delete(STATEFUL_SETS, "web", "default", propagation="Orphan")
    await cluster.until_gone(STATEFUL_SETS, "web")
    await cluster.client.create(STATEFUL_SETS, workload("StatefulSet", replicas=1))
    found = await cluster.until(STATEFUL_SETS, "web", settled)
    [after] = (await cluster.client.list(CONTROLLER_REVISIONS, "default")).items
    assert (uid(after), controller_of(after)["uid"]) == (uid(before), uid(found))


async def test_a_daemon_set_runs_once_on_the_node(cluster: Cluster) -> None:
    await cluster.client.create(DAEMON_SETS, workload("DaemonSet"))
    found = await cluster.until(
        DAEMON_SETS, "web", lambda d: (d.get("status") or {}).get("numberReady") == 1
    )
    assert found["status"]["desiredNumberScheduled"] == 1
    assert found["status"]["updatedNumberScheduled"] == 1


async def test_a_daemon_set_replaces_its_pods_and_keeps_its_history(cluster: Cluster) -> None:
    await cluster.client.create(DAEMON_SETS, workload("DaemonSet"))
    await cluster.until(DAEMON_SETS, "web", lambda d: told(d, "numberReady") == 1)
    change = {"spec": {"template": template(image="busybox")}}
    await cluster.client.patch(DAEMON_SETS, "web", change, "default", type="strategic")
    await cluster.until(
        DAEMON_SETS,
        "web",
        lambda d: (
            told(d, "observedGeneration") == 2
            and told(d, "updatedNumberScheduled") == told(d, "numberAvailable") == 1
        ),
    )
    [pod] = await cluster.until_list(PODS, lambda pods: len(pods) == 1)
    assert pod["spec"]["containers"][0]["image"] == "busybox"
    revisions = (await cluster.client.list(CONTROLLER_REVISIONS, "default")).items
    assert sorted(revision["revision"] for revision in revisions) == [1, 2]


async def test_a_taint_that_keeps_new_pods_away_lets_daemons_stay(cluster: Cluster) -> None:
    await cluster.client.create(DAEMON_SETS, workload("DaemonSet"))
    await cluster.until(DAEMON_SETS, "web", lambda d: told(d, "numberReady") == 1)
    for effect, left in (("NoSchedule", 1), ("NoExecute", 0)):
        taints = [{"key": "dedicated", "effect": effect}]
        await cluster.client.patch(NODES, "here", {"spec": {"taints": taints}})
        found = await cluster.until(
            DAEMON_SETS,
            "web",
            lambda d: (
                told(d, "desiredNumberScheduled") == 0 and told(d, "numberMisscheduled") == left  # noqa: B023
            ),
        )
        assert told(found, "currentNumberScheduled") == 0
