"""Jobs as users rely on them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from tests.engine.workloads.cluster import Cluster, job

from kubeling.engine.workloads.job_pods import TRACKING
from kubeling.kube import objects
from kubeling.kube.clock import SystemClock
from kubeling.kube.objects import (
    Obj,
    condition,
    format_time,
    is_condition_true,
    labels,
    name,
    owner_reference,
    uid,
)
from kubeling.kube.resources import CRON_JOBS, EVENTS, JOBS, PODS

SUCCEED = {"outcome": "Succeeded"}
FAIL = {"outcome": "Failed"}


def complete(obj) -> bool:
    return is_condition_true(obj, "Complete")


def failed(obj) -> bool:
    return is_condition_true(obj, "Failed")


async def test_a_job_completes(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job(labels=SUCCEED, completions=5, parallelism=2))
    found = await cluster.until(JOBS, "work", complete)
    assert found["status"]["succeeded"] == 5
    assert "completionTime" in found["status"]
    assert "active" not in found["status"]
    pods = (await cluster.client.list(PODS, "default")).items
    assert {labels(pod)["job-name"] for pod in pods} == {"work"}
    assert len(pods) == 5


async def test_an_indexed_job_gives_each_pod_its_index(cluster: Cluster) -> None:
    made = job(labels=SUCCEED, completions=4, parallelism=4, completionMode="Indexed")
    await cluster.client.create(JOBS, made)
    found = await cluster.until(JOBS, "work", complete)
    assert found["status"]["completedIndexes"] == "0-3"
    pods = (await cluster.client.list(PODS, "default")).items
    key = "batch.kubernetes.io/job-completion-index"
    assert sorted(objects.annotations(pod)[key] for pod in pods) == ["0", "1", "2", "3"]
    assert all(name(p).startswith(f"work-{objects.annotations(p)[key]}-") for p in pods)
    assert pods[0]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


async def test_a_job_that_fails_says_so(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job(labels=FAIL, backoffLimit=0))
    found = await cluster.until(JOBS, "work", failed)
    assert condition(found, "Failed").reason == "BackoffLimitExceeded"
    assert found["status"]["failed"] == 1


async def test_a_job_past_its_deadline_fails(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job(activeDeadlineSeconds=1))
    found = await cluster.until(JOBS, "work", failed)
    assert condition(found, "Failed").reason == "DeadlineExceeded"
    await cluster.until_list(PODS, lambda pods: not pods)


async def test_a_suspended_job_has_no_pods_until_it_is_resumed(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job(suspend=True))
    await cluster.until(JOBS, "work", lambda j: is_condition_true(j, "Suspended"))
    assert not (await cluster.client.list(PODS, "default")).items
    await cluster.client.patch(JOBS, "work", {"spec": {"suspend": False}}, "default")
    await cluster.until_list(PODS, lambda pods: len(pods) == 1)
    found = await cluster.until(JOBS, "work", lambda j: j["status"].get("active") == 1)
    assert condition(found, "Suspended").status == "False"


async def test_a_finished_job_goes_when_its_time_is_over(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job(labels=SUCCEED, ttlSecondsAfterFinished=0))
    await cluster.until_gone(JOBS, "work")
    await cluster.until_list(PODS, lambda pods: not pods)


async def test_pods_are_held_until_they_are_counted(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job(completions=2, parallelism=2))
    await cluster.until(JOBS, "work", lambda j: (j.get("status") or {}).get("ready") == 2)
    held = (await cluster.client.list(PODS, "default")).items
    assert all(pod["metadata"]["finalizers"] == [TRACKING] for pod in held)
    await end(cluster, held[0], "Succeeded")
    await cluster.until(JOBS, "work", lambda j: j["status"].get("succeeded") == 1)
    await end(cluster, held[1], "Succeeded")
    found = await cluster.until(JOBS, "work", complete)
    kinds = [entry["type"] for entry in found["status"]["conditions"]]
    assert kinds == ["SuccessCriteriaMet", "Complete"]
    assert found["status"]["uncountedTerminatedPods"] == {}
    assert (found["status"]["ready"], found["status"]["terminating"]) == (0, 0)
    ended = (await cluster.client.list(PODS, "default")).items
    assert not any("finalizers" in pod["metadata"] for pod in ended)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_a_deleted_job_takes_its_pods_along(cluster: Cluster, propagation: Any) -> None:
    await cluster.client.create(JOBS, job(completions=2, parallelism=2))
    await cluster.until(JOBS, "work", lambda j: j["status"].get("ready") == 2)
    await cluster.client.delete(JOBS, "work", "default", propagation=propagation)
    await cluster.until_gone(JOBS, "work")
    await cluster.until_list(PODS, lambda pods: not pods)


async def test_pods_that_outlive_their_job_are_free(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job())
    await cluster.until_list(PODS, lambda pods: len(pods) == 1)
    await cluster.client.delete(JOBS, "work", "default", propagation="Orphan")
    (pod,) = await cluster.until_list(
        PODS, lambda pods: not any("finalizers" in pod["metadata"] for pod in pods)
    )
    assert "ownerReferences" not in pod["metadata"]


async def test_a_deleted_pod_is_replaced_and_counts_as_failed(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job())
    (pod,) = await cluster.until_list(PODS, lambda pods: len(pods) == 1)
    await cluster.client.delete(PODS, name(pod), "default")
    await cluster.until(JOBS, "work", lambda j: j["status"].get("failed") == 1)
    await cluster.until_gone(PODS, name(pod))


async def test_less_parallelism_ends_pods_that_do_not_count(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job(completions=4, parallelism=3))
    await cluster.until(JOBS, "work", lambda j: j["status"].get("ready") == 3)
    await cluster.client.patch(JOBS, "work", {"spec": {"parallelism": 1}}, "default")
    await cluster.until_list(PODS, lambda pods: len(pods) == 1)
    found = await cluster.until(JOBS, "work", lambda j: j["status"].get("active") == 1)
    assert "failed" not in found["status"]


async def test_a_job_that_others_manage_is_left_alone(cluster: Cluster) -> None:
    await cluster.client.create(JOBS, job("theirs", managedBy="example.com/queue"))
    await cluster.client.create(JOBS, job("ours", managedBy="kubernetes.io/job-controller"))
    await cluster.until(JOBS, "ours", lambda j: j["status"].get("active") == 1)
    assert (await cluster.client.get(JOBS, "theirs", "default"))["status"] == {}


async def test_a_job_with_a_selector_of_its_own_takes_pods_in(cluster: Cluster) -> None:
    made = job(manualSelector=True, selector={"matchLabels": {"app": "work"}})
    made["spec"]["template"]["metadata"]["labels"] = {"app": "work"}
    orphan = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "orphan", "namespace": "default", "labels": {"app": "work"}},
        "spec": {"containers": [{"name": "main", "image": "pause"}], "restartPolicy": "Never"},
    }
    await cluster.client.create(PODS, orphan)
    await cluster.until_list(PODS, lambda pods: len(pods) == 1)
    await cluster.client.create(JOBS, made)
    await cluster.until(JOBS, "work", lambda j: j["status"].get("active") == 1)
    (pod,) = (await cluster.client.list(PODS, "default")).items
    assert name(pod) == "orphan"
    assert pod["metadata"]["finalizers"] == [TRACKING]


async def end(cluster: Cluster, pod: Obj, phase: str) -> None:
    await cluster.client.patch_status(PODS, name(pod), {"phase": phase}, "default")


def cron_job(labels: Obj, **spec: Any) -> Obj:
    template = {"spec": job(labels=labels)["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {"schedule": "@every 1s", "jobTemplate": template, **spec},
    }


async def test_a_cron_job_makes_jobs(cluster: Cluster) -> None:
    await cluster.client.create(CRON_JOBS, cron_job(SUCCEED))
    found = await cluster.until(
        CRON_JOBS, "tick", lambda c: "lastSuccessfulTime" in (c.get("status") or {})
    )
    assert "lastScheduleTime" in found["status"]


async def test_a_cron_job_follows_its_jobs(cluster: Cluster) -> None:
    await cluster.client.create(CRON_JOBS, cron_job(SUCCEED))
    seen = await cluster.until_list(
        EVENTS, lambda events: "SawCompletedJob" in {event["reason"] for event in events}
    )
    [first, *_] = [event for event in seen if event["reason"] == "SawCompletedJob"]
    assert first["message"].endswith(", condition: Complete")


@pytest.mark.parametrize(
    ("policy", "reason"), [("Forbid", "JobAlreadyActive"), ("Replace", "SuccessfulDelete")]
)
async def test_runs_that_overlap(cluster: Cluster, policy: str, reason: str) -> None:
    wanted = cron_job({}, schedule="* * * * *", suspend=True, concurrencyPolicy=policy)
    made = await cluster.client.create(CRON_JOBS, wanted)
    earlier = job("earlier")
    earlier["metadata"]["ownerReferences"] = [owner_reference(made)]
    running = await cluster.client.create(JOBS, earlier)
    reference = {"kind": "Job", "name": "earlier", "namespace": "default", "uid": uid(running)}
    past = format_time(SystemClock().now() - dt.timedelta(minutes=3))
    status = {"active": [reference], "lastScheduleTime": past}
    await cluster.client.patch_status(CRON_JOBS, "tick", status, "default")
    await cluster.client.patch(CRON_JOBS, "tick", {"spec": {"suspend": False}}, "default")
    await cluster.until_list(EVENTS, lambda seen: reason in {event["reason"] for event in seen})
    found = await cluster.until(
        CRON_JOBS,
        "tick",
        lambda c: policy == "Forbid" or c["status"].get("lastScheduleTime") != past,
    )
    [active] = found["status"]["active"]
    assert (active["name"] == "earlier") == (policy == "Forbid")


async def test_a_job_made_by_hand_is_nobodys_run(cluster: Cluster) -> None:
    made = await cluster.client.create(CRON_JOBS, cron_job({}, schedule="@yearly"))
    by_hand = job("by-hand")
    by_hand["metadata"]["ownerReferences"] = [owner_reference(made)]
    await cluster.client.create(JOBS, by_hand)
    await cluster.until_list(
        EVENTS, lambda seen: "UnexpectedJob" in {event["reason"] for event in seen}
    )
    found = await cluster.client.get(CRON_JOBS, "tick", "default")
    assert "active" not in found["status"]


async def test_a_run_that_goes_missing_is_forgotten(cluster: Cluster) -> None:
    await cluster.client.create(CRON_JOBS, cron_job({}, concurrencyPolicy="Forbid"))
    found = await cluster.until(CRON_JOBS, "tick", lambda c: "active" in (c.get("status") or {}))
    await cluster.client.patch(CRON_JOBS, "tick", {"spec": {"suspend": True}}, "default")
    title = found["status"]["active"][0]["name"]
    await cluster.client.delete(JOBS, title, "default", propagation="Background")
    await cluster.until(CRON_JOBS, "tick", lambda c: "active" not in c["status"])
    seen = await cluster.until_list(
        EVENTS, lambda events: "MissingJob" in {event["reason"] for event in events}
    )
    assert f"Active job went missing: {title}" in {event["message"] for event in seen}
