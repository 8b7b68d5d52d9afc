"""A JobSet becomes Jobs that start, restart and end as one."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import pytest

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, deep_copy, name
from kubeling.training.jobset.admission import admissions
from kubeling.training.jobset.neighbours import acquaint
from kubeling.training.jobset.objects import claims, jobs_of_group, service
from kubeling.training.jobset.plan import Plan, has_ended, plan
from kubeling.training.jobset.resources import JOB_SETS

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
STAMP = "2026-01-01T00:00:00Z"


def group(called: str, pods: int = 1, **more: Any) -> Obj:
    pod = {"spec": {"containers": [{"name": "main", "image": "busybox"}]}}
    job = {"parallelism": pods, "completions": pods, "template": pod}
    return {"name": called, "replicas": 1, "template": {"spec": job}, **more}


def jobset(*groups: Obj, **spec: Any) -> Obj:
    obj = {
        "apiVersion": JOB_SETS.api_version,
        "kind": JOB_SETS.kind,
        "metadata": {"name": "demo", "namespace": "team", "uid": "u"},
        "spec": {"replicatedJobs": list(groups or (group("worker"),)), **spec},
    }
    assert admitted(obj) == []
    return obj


def admitted(obj: Obj, old: Obj | None = None) -> list[str]:
    admission = admissions()[JOB_SETS]
    request = AdmissionRequest(JOB_SETS, "UPDATE" if old else "CREATE", old=old)
    assert admission.default
    assert admission.validate
    admission.default(obj, request)
    return [str(error) for error in admission.validate(obj, old, request)]


def look(obj: Obj, *jobs: Obj, why: str = "", after: float = 0) -> Plan:
    """What is done next; the status is written into the object, as the controller does."""
    todo = plan(obj, jobs, why, NOW + dt.timedelta(seconds=after))
    obj["status"] = todo.status
    return todo


def running(job: Obj, **counts: int) -> Obj:
    return {**deep_copy(job), "status": {"active": 1, **counts}}


def ended(job: Obj, how: str, reason: str = "BackoffLimitExceeded", at: str = STAMP) -> Obj:
    entry = {"type": how, "status": "True", "reason": reason, "lastTransitionTime": at}
    return {**deep_copy(job), "status": {"conditions": [entry]}}


def conditions(obj: Obj) -> list[tuple[str, str]]:
    return [(c["type"], c["status"]) for c in obj["status"].get("conditions") or ()]


def test_on_one_network_pods_know_one_another_by_name() -> None:
    obj = jobset(group("data"), group("worker", pods=2))
    job = look(obj).create[0]
    acquaint(obj, job)
    (alias,) = job["spec"]["template"]["spec"]["hostAliases"]
    assert alias["ip"] == "127.0.0.1"
    for host in ("demo-data-0-0.demo", "demo-worker-0-1.demo", "demo-worker-0-1.demo.team.svc"):
        assert host in alias["hostnames"]


def test_names_labels_and_the_service_are_what_people_select_by() -> None:
    obj = jobset(group("data"), group("worker", replicas=2, groupName="w"))
    first, second = look(obj).create[1:]
    assert (name(first), name(second)) == ("demo-worker-0", "demo-worker-1")
    labels = second["spec"]["template"]["metadata"]["labels"]
    assert labels == second["metadata"]["labels"]
    prefix = "jobset.sigs.k8s.io"
    assert {key.removeprefix(f"{prefix}/"): labels[key] for key in labels if "uid" not in key} == {
        "jobset-name": "demo",
        "replicatedjob-name": "worker",
        "replicatedjob-replicas": "2",
        "global-replicas": "3",
        "job-index": "1",
        "job-global-index": "2",
        "job-key": hashlib.sha1(b"team/demo-worker-1").hexdigest(),
        "restart-attempt": "0",
        "group-name": "w",
        "group-replicas": "2",
        "job-group-index": "1",
    }
    headless = service(obj)
    assert headless is not None
    assert headless["metadata"]["name"] == "demo"
    assert headless["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {f"{prefix}/jobset-name": "demo"},
    }
    assert second["spec"]["template"]["spec"]["subdomain"] == "demo"
    assert second["spec"]["completionMode"] == "Indexed"
    assert second["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"


def test_host_names_may_be_others_or_none() -> None:
    other = jobset(network={"subdomain": "hosts"})
    assert name(service(other) or {}) == "hosts"
    assert look(other).create[0]["spec"]["template"]["spec"]["subdomain"] == "hosts"
    none = jobset(network={"enableDNSHostnames": False})
    assert service(none) is None
    assert "subdomain" not in look(none).create[0]["spec"]["template"]["spec"]


def test_everyone_is_told_where_the_coordinator_is() -> None:
    obj = jobset(group("worker"), coordinator={"replicatedJob": "worker", "podIndex": 1})
    labels = look(obj).create[0]["spec"]["template"]["metadata"]["labels"]
    assert labels["jobset.sigs.k8s.io/coordinator"] == "demo-worker-0-1.demo"


def test_claims_are_shared_by_the_pods_that_mount_them() -> None:
    worker, idle = group("worker"), group("idle")
    pod = worker["template"]["spec"]["template"]["spec"]
    pod["containers"][0]["volumeMounts"] = [{"name": "work", "mountPath": "/work"}]
    template = {"metadata": {"name": "work"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    obj = jobset(worker, idle, volumeClaimPolicies=[{"templates": [template]}])
    (claim,) = claims(obj)
    assert name(claim) == "work-demo"
    assert "ownerReferences" not in claim["metadata"]
    mounting, other = look(obj).create
    assert mounting["spec"]["template"]["spec"]["volumes"] == [
        {"name": "work", "persistentVolumeClaim": {"claimName": "work-demo"}}
    ]
    assert "volumes" not in other["spec"]["template"]["spec"]
    obj["spec"]["volumeClaimPolicies"][0]["retentionPolicy"] = {"whenDeleted": "Delete"}
    assert claims(obj)[0]["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_groups_wait_for_those_they_depend_on() -> None:
    needs = [{"name": "data", "status": "Complete"}]
    obj = jobset(group("data"), group("worker", dependsOn=needs))
    (data,) = look(obj).create
    assert name(data) == "demo-data-0"
    assert look(obj, running(data)).create == []
    assert [name(job) for job in look(obj, ended(data, "Complete")).create] == ["demo-worker-0"]


def test_ready_means_that_every_pod_is() -> None:
    needs = [{"name": "node", "status": "Ready"}]
    obj = jobset(group("node", pods=2), group("launcher", dependsOn=needs))
    (node,) = look(obj).create
    assert look(obj, running(node, ready=1)).create == []
    assert [name(job) for job in look(obj, running(node, ready=2)).create] == ["demo-launcher-0"]


def test_in_order_every_group_waits_for_the_one_before() -> None:
    obj = jobset(group("a"), group("b"), startupPolicy={"startupPolicyOrder": "InOrder"})
    (first,) = look(obj).create
    assert conditions(obj) == [("StartupPolicyInProgress", "True")]
    (second,) = look(obj, running(first, ready=1)).create
    assert name(second) == "demo-b-0"
    look(obj, running(first, ready=1), running(second, ready=1))
    assert conditions(obj) == [
        ("StartupPolicyInProgress", "False"),
        ("StartupPolicyCompleted", "True"),
    ]


def test_counts_say_where_each_group_stands() -> None:
    obj = jobset(group("worker", replicas=2, pods=2))
    one, two = look(obj).create
    look(obj, running(one, ready=1, succeeded=1), ended(two, "Complete"))
    assert obj["status"]["replicatedJobsStatus"] == [
        {"name": "worker", "ready": 1, "succeeded": 1, "failed": 0, "active": 1, "suspended": 0}
    ]


def test_all_jobs_must_succeed_unless_the_policy_says_otherwise() -> None:
    both = jobset(group("a"), group("b"))
    a, b = look(both).create
    look(both, ended(a, "Complete"), running(b))
    assert not has_ended(both)
    look(both, ended(a, "Complete"), ended(b, "Complete"))
    assert conditions(both) == [("Completed", "True")]
    assert both["status"]["terminalState"] == "Completed"
    assert both["status"]["conditions"][0]["reason"] == "AllJobsCompleted"


@pytest.mark.parametrize(
    "policy", [{"operator": "All", "targetReplicatedJobs": ["a"]}, {"operator": "Any"}]
)
def test_what_still_runs_when_success_is_decided_is_ended(policy: Obj) -> None:
    obj = jobset(group("a"), group("b"), successPolicy=policy)
    a, b = look(obj).create
    todo = look(obj, ended(a, "Complete"), running(b))
    assert conditions(obj) == [("Completed", "True")]
    assert [name(job) for job in todo.delete] == ["demo-b-0"]


def test_without_a_failure_policy_one_failed_job_is_the_end() -> None:
    obj = jobset(group("a"), group("b"))
    a, b = look(obj).create
    todo = look(obj, ended(a, "Failed"), running(b), why="pod a-0 failed with exit code 3")
    (condition,) = obj["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Failed", "FailedJobs")
    assert condition["message"] == (
        "jobset failed due to one or more job failures (first failed job: demo-a-0): "
        "pod a-0 failed with exit code 3"
    )
    assert [name(job) for job in todo.delete] == ["demo-b-0"]


def test_restarts_begin_again_with_all_jobs_up_to_the_limit() -> None:
    obj = jobset(group("a"), group("b"), failurePolicy={"maxRestarts": 1})
    a, b = look(obj).create
    failed, other = ended(a, "Failed"), running(b)
    first = look(obj, failed, other)
    assert (first.delete, first.create) == ([], [])
    assert (obj["status"]["restarts"], obj["status"]["restartsCountTowardsMax"]) == (1, 1)
    assert [note.reason for note in first.notes] == ["RestartJobSetFailurePolicyAction"]
    # Names are taken until the old Jobs and their pods are gone.
    again = look(obj, failed, other)
    assert {name(job) for job in again.delete} == {"demo-a-0", "demo-b-0"}
    assert again.create == []
    fresh = look(obj).create
    assert {job["metadata"]["labels"]["jobset.sigs.k8s.io/restart-attempt"] for job in fresh} == {
        "1"
    }
    look(obj, ended(fresh[0], "Failed"), running(fresh[1]))
    assert obj["status"]["conditions"][0]["reason"] == "ReachedMaxRestarts"


@pytest.mark.parametrize(
    ("rule", "restarts", "counted", "ends"),
    [
        ({"action": "FailJobSet"}, None, None, "FailJobSetFailurePolicyAction"),
        ({"action": "RestartJobSetAndIgnoreMaxRestarts"}, 1, None, ""),
        ({"action": "FailJobSet", "onJobFailureReasons": ["DeadlineExceeded"]}, 1, 1, ""),
        ({"action": "FailJobSet", "targetReplicatedJobs": ["b"]}, 1, 1, ""),
        (
            {"action": "FailJobSet", "onJobFailureReasons": ["BackoffLimitExceeded"]},
            None,
            None,
            "FailJobSetFailurePolicyAction",
        ),
    ],
)
def test_rules_decide_by_group_and_reason(
    rule: Obj, restarts: int | None, counted: int | None, ends: str
) -> None:
    obj = jobset(group("a"), group("b"), failurePolicy={"maxRestarts": 3, "rules": [rule]})
    a, b = look(obj).create
    look(obj, ended(a, "Failed"), running(b))
    status = obj["status"]
    assert (status.get("restarts"), status.get("restartsCountTowardsMax")) == (restarts, counted)
    assert [c["reason"] for c in status.get("conditions") or ()] == ([ends] if ends else [])


def test_suspending_stops_jobs_and_resuming_starts_them_where_they_were() -> None:
    obj = jobset(group("a"), suspend=True)
    (job,) = look(obj).create
    assert job["spec"]["suspend"] is True
    assert conditions(obj) == [("Suspended", "True")]
    obj["spec"]["suspend"] = False
    obj["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["nodeSelector"] = {
        "zone": "b"
    }
    ((resumed, patch),) = look(obj, job).resume
    assert resumed == job
    assert patch == {
        "spec": {"suspend": False, "template": {"spec": {"nodeSelector": {"zone": "b"}}}}
    }
    assert conditions(obj) == [("Suspended", "False")]
    job["spec"]["suspend"] = False
    obj["spec"]["suspend"] = True
    assert look(obj, running(job)).suspend == [running(job)]


def test_a_jobset_goes_some_time_after_its_end() -> None:
    obj = jobset(ttlSecondsAfterFinished=10)
    (job,) = look(obj).create
    look(obj, ended(job, "Complete"))
    assert look(obj, ended(job, "Complete"), after=4).requeue_after == 6
    assert look(obj, ended(job, "Complete"), after=10).delete_jobset


@pytest.mark.parametrize(
    ("groups", "spec", "complaint"),
    [
        ([group("x" * 60)], {}, "spec.replicatedJobs[0].name: Invalid value"),
        ([group("a"), group("a")], {}, "spec.replicatedJobs[1].name: Duplicate value"),
        (
            [group("a", dependsOn=[{"name": "b", "status": "Ready"}]), group("b")],
            {},
            "spec.replicatedJobs[0].dependsOn[0].name: Invalid value",
        ),
        (
            [group("a")],
            {"successPolicy": {"operator": "All", "targetReplicatedJobs": ["z"]}},
            "spec.successPolicy.targetReplicatedJobs[0]: Invalid value",
        ),
        (
            [group("a")],
            {"coordinator": {"replicatedJob": "z"}},
            "spec.coordinator.replicatedJob: Invalid value",
        ),
    ],
)
def test_mistakes_are_named_with_their_field(groups: list[Obj], spec: Obj, complaint: str) -> None:
    obj = deep_copy(jobset())
    obj["spec"] = {"replicatedJobs": groups, **spec}
    assert any(error.startswith(complaint) for error in admitted(obj))


def test_jobs_may_be_changed_only_in_their_scheduling_and_while_suspended() -> None:
    def changed(field: str, value: Any, **spec: Any) -> list[str]:
        old = jobset(**spec)
        new = deep_copy(old)
        new["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][field] = value
        return admitted(new, old)

    assert changed("nodeSelector", {"zone": "b"}, suspend=True) == []
    assert changed("nodeSelector", {"zone": "b"})[0].startswith("spec.replicatedJobs: Forbidden")
    assert changed("hostNetwork", True, suspend=True)
    old = jobset()
    new = deep_copy(old)
    new["spec"]["failurePolicy"] = {"maxRestarts": 2}
    assert admitted(new, old) == ["spec.failurePolicy: Forbidden: the field is immutable"]


def test_jobs_of_a_group_are_made_from_its_template() -> None:
    worker = group("worker")
    worker["template"]["metadata"] = {"labels": {"team": "vision"}, "annotations": {"a": "b"}}
    (job,) = jobs_of_group(jobset(worker), worker)
    assert job["metadata"]["labels"]["team"] == "vision"
    assert job["metadata"]["annotations"] == {"a": "b"}
    assert job["metadata"]["ownerReferences"][0]["kind"] == "JobSet"
