"""What ``kubectl rollout`` and ``scale`` promise of Deployments and ReplicaSets."""

from __future__ import annotations

from typing import Any

from tests.engine.workloads.cluster import Cluster, template, workload

from kubeling.engine.workloads.resources import REPLICATION_CONTROLLERS
from kubeling.kube.objects import Obj, annotations, condition, labels, name, uid
from kubeling.kube.resources import DEPLOYMENTS, PODS, REPLICA_SETS


def available(count: int):
    return lambda d: (d.get("status") or {}).get("availableReplicas") == count


def told(obj: Obj, type_: str) -> str:
    """The reason of a condition."""
    found = condition(obj, type_)
    return found.reason if found else ""


def rolled_out(obj) -> bool:
    """As ``kubectl rollout status`` decides."""
    status, wanted = obj.get("status") or {}, obj["spec"]["replicas"]
    return (
        status.get("observedGeneration") == obj["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


async def test_a_deployment_becomes_available(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=3))
    found = await cluster.until(DEPLOYMENTS, "web", rolled_out)
    assert condition(found, "Available").status == "True"
    assert condition(found, "Progressing").reason == "NewReplicaSetAvailable"
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    (replica_set,) = (await cluster.client.list(REPLICA_SETS, "default")).items
    digest = labels(replica_set)["pod-template-hash"]
    assert name(replica_set) == f"web-{digest}"
    pods = (await cluster.client.list(PODS, "default")).items
    assert {labels(pod)["pod-template-hash"] for pod in pods} == {digest}
    assert len(pods) == 3


async def test_a_new_template_rolls_out_and_back(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=3))
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    change = {"spec": {"template": template(image="busybox")}}
    await cluster.client.patch(DEPLOYMENTS, "web", change, "default", type="strategic")
    found = await cluster.until(DEPLOYMENTS, "web", rolled_out)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    pods = await cluster.until_list(PODS, lambda pods: len(pods) == 3)
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"busybox"}

    back = {"spec": {"template": template(image="pause")}}
    await cluster.client.patch(DEPLOYMENTS, "web", back, "default", type="strategic")
    found = await cluster.until(DEPLOYMENTS, "web", rolled_out)
    sets = (await cluster.client.list(REPLICA_SETS, "default")).items
    assert len(sets) == 2, "the old ReplicaSet is used again"
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


async def test_a_template_that_never_gets_ready_keeps_the_old_pods(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=4))
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    change = {"spec": {"template": template(labels={"stuck": "true"})}}
    await cluster.client.patch(DEPLOYMENTS, "web", change, "default", type="strategic")
    found = await cluster.until(
        DEPLOYMENTS, "web", lambda d: d["status"].get("updatedReplicas") == 2
    )
    assert found["status"]["availableReplicas"] >= 3
    assert condition(found, "Available").status == "True"


async def test_scaling_down_and_to_zero(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=3))
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    await cluster.client.set_scale(DEPLOYMENTS, "web", "default", 1)
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    await cluster.client.set_scale(DEPLOYMENTS, "web", "default", 0)
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    await cluster.until_list(PODS, lambda pods: not pods)


async def test_recreate_ends_all_old_pods_first(cluster: Cluster) -> None:
    made = workload("Deployment", replicas=2, strategy={"type": "Recreate"})
    await cluster.client.create(DEPLOYMENTS, made)
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    change = {"spec": {"template": template(image="busybox")}}
    await cluster.client.patch(DEPLOYMENTS, "web", change, "default", type="strategic")
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    pods = (await cluster.client.list(PODS, "default")).items
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"busybox"}


async def test_a_lost_pod_is_replaced(cluster: Cluster) -> None:
    await cluster.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=2))
    await cluster.until(REPLICA_SETS, "web", available(2))
    pods = (await cluster.client.list(PODS, "default")).items
    await cluster.client.delete(PODS, name(pods[0]), "default")
    after = await cluster.until_list(
        PODS, lambda now: len(now) == 2 and uid(pods[0]) not in {uid(pod) for pod in now}
    )
    assert uid(pods[1]) in {uid(pod) for pod in after}


async def test_orphans_are_adopted(cluster: Cluster) -> None:
    await cluster.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=2))
    await cluster.until(REPLICA_SETS, "web", available(2))
    before = {uid(pod) for pod in (await cluster.client.list(PODS, "default")).items}
    await cluster.client.delete(REPLICA_SETS, "web", "default", propagation="Orphan")
    await cluster.until_gone(REPLICA_SETS, "web")
    await cluster.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=2))
    await cluster.until(REPLICA_SETS, "web", available(2))
    after = {uid(pod) for pod in (await cluster.client.list(PODS, "default")).items}
    assert after == before


async def test_deleting_a_deployment_deletes_its_pods(cluster: Cluster) -> None:
    for propagation in ("Background", "Foreground"):
        await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=2))
        await cluster.until(DEPLOYMENTS, "web", rolled_out)
        await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation=propagation)
        await cluster.until_gone(DEPLOYMENTS, "web")
        await cluster.until_list(REPLICA_SETS, lambda sets: not sets)
        await cluster.until_list(PODS, lambda pods: not pods)


async def revise(cluster: Cluster, **change: Any) -> None:
    patch = {"spec": {"template": template(**change)}}
    await cluster.client.patch(DEPLOYMENTS, "web", patch, "default", type="strategic")


async def sets_of(cluster: Cluster) -> dict[str, Obj]:
    """The ReplicaSets by revision."""
    listed = (await cluster.client.list(REPLICA_SETS, "default")).items
    return {annotations(rs)["deployment.kubernetes.io/revision"]: rs for rs in listed}


async def test_a_paused_deployment_scales_but_does_not_roll(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=2))
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    pause = {"spec": {"paused": True, "replicas": 3}}
    await cluster.client.patch(DEPLOYMENTS, "web", pause, "default")
    await revise(cluster, image="busybox")
    found = await cluster.until(DEPLOYMENTS, "web", available(3))
    assert list(await sets_of(cluster)) == ["1"]
    found = await cluster.until(
        DEPLOYMENTS, "web", lambda d: told(d, "Progressing") == "DeploymentPaused"
    )
    assert condition(found, "Progressing").status == "Unknown"
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}}, "default")
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    assert set(await sets_of(cluster)) == {"1", "2"}


async def test_history_keeps_causes_and_as_many_revisions_as_asked(cluster: Cluster) -> None:
    made = workload("Deployment", replicas=1, revisionHistoryLimit=1)
    made["metadata"]["annotations"] = {"kubernetes.io/change-cause": "first"}
    await cluster.client.create(DEPLOYMENTS, made)
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    for number, cause in enumerate(("second", "third"), start=2):
        await revise(cluster, image=f"busybox:{number}")
        await cluster.until(DEPLOYMENTS, "web", rolled_out)
        patch = {"metadata": {"annotations": {"kubernetes.io/change-cause": cause}}}
        await cluster.client.patch(DEPLOYMENTS, "web", patch, "default")
    await cluster.until_list(
        REPLICA_SETS,
        lambda sets: (
            {annotations(rs).get("kubernetes.io/change-cause") for rs in sets}
            == {"second", "third"}
        ),
    )


async def test_a_rollback_remembers_the_revisions_it_was(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=1))
    await cluster.until(DEPLOYMENTS, "web", rolled_out)
    for image in ("busybox", "pause"):
        await revise(cluster, image=image)
        await cluster.until(DEPLOYMENTS, "web", rolled_out)
    sets = await sets_of(cluster)
    assert set(sets) == {"2", "3"}
    assert annotations(sets["3"])["deployment.kubernetes.io/revision-history"] == "1"


async def test_a_finished_rollout_stays_finished_when_a_pod_is_lost(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=2))
    before = await cluster.until(DEPLOYMENTS, "web", rolled_out)
    pods = (await cluster.client.list(PODS, "default")).items
    stuck = {"spec": {"minReadySeconds": 3600, "progressDeadlineSeconds": 7200}}
    await cluster.client.patch(DEPLOYMENTS, "web", stuck, "default")
    await cluster.client.delete(PODS, name(pods[0]), "default")
    found = await cluster.until(
        DEPLOYMENTS, "web", lambda d: d["status"].get("unavailableReplicas") == 2
    )
    assert condition(found, "Progressing") == condition(before, "Progressing")


async def test_a_rollout_without_progress_says_so_after_its_deadline(cluster: Cluster) -> None:
    made = workload("Deployment", replicas=1, progressDeadlineSeconds=1)
    made["spec"]["template"] = template(labels={"stuck": "yes"})
    await cluster.client.create(DEPLOYMENTS, made)
    found = await cluster.until(
        DEPLOYMENTS, "web", lambda d: told(d, "Progressing") == "ProgressDeadlineExceeded"
    )
    progressing = condition(found, "Progressing")
    assert progressing.status == "False"
    assert progressing.message.endswith("has timed out progressing.")


async def test_the_cheapest_pod_goes_first(cluster: Cluster) -> None:
    await cluster.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=3))
    await cluster.until(REPLICA_SETS, "web", available(3))
    pods = (await cluster.client.list(PODS, "default")).items
    cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}
    await cluster.client.patch(PODS, name(pods[1]), cost, "default")
    await cluster.client.set_scale(REPLICA_SETS, "web", "default", 2)
    left = await cluster.until_list(PODS, lambda now: len(now) == 2)
    assert name(pods[1]) not in {name(pod) for pod in left}


async def test_a_replication_controller_keeps_its_pods(cluster: Cluster) -> None:
    made = workload("ReplicationController", api_version="v1", replicas=2)
    made["spec"]["selector"] = {"app": "web"}
    await cluster.client.create(REPLICATION_CONTROLLERS, made)
    await cluster.until(REPLICATION_CONTROLLERS, "web", available(2))
    pods = (await cluster.client.list(PODS, "default")).items
    await cluster.client.delete(PODS, name(pods[0]), "default")
    await cluster.until_gone(PODS, name(pods[0]))
    await cluster.until(REPLICATION_CONTROLLERS, "web", available(2))
    await cluster.client.set_scale(REPLICATION_CONTROLLERS, "web", "default", 1)
    found = await cluster.until(
        REPLICATION_CONTROLLERS, "web", lambda c: (c.get("status") or {}).get("replicas") == 1
    )
    assert "terminatingReplicas" not in found["status"]
    await cluster.client.delete(REPLICATION_CONTROLLERS, "web", "default")
    await cluster.until_list(PODS, lambda pods: not pods)
