"""What is done about a training job in each state, without a server or a clock."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.training.jobs import in_phase, job, running, with_status

from kubeling.kube.objects import Obj, name
from kubeling.training.job import TrainingJob
from kubeling.training.kinds import MPI, PYTORCH, TENSORFLOW, XGBOOST
from kubeling.training.plan import Plan, plan

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def after(of: TrainingJob, pods: list[Obj], now: dt.datetime = NOW) -> Plan:
    return plan(of, pods, [], now)


def conditions(found: Plan) -> dict[str, str]:
    return {c["type"]: c["status"] for c in found.status["conditions"]}


def test_a_new_job_gets_a_pod_and_a_service_per_replica() -> None:
    found = after(job(TENSORFLOW, {"Worker": 2, "PS": 1}), [])
    expected = ["mnist-ps-0", "mnist-worker-0", "mnist-worker-1"]
    assert [name(p) for p in found.create_pods] == expected
    assert [name(s) for s in found.create_services] == expected
    assert conditions(found) == {"Created": "True"}
    assert found.status["startTime"] == "2026-01-01T12:00:00Z"


def test_only_what_is_missing_is_created() -> None:
    workers = job(TENSORFLOW, {"Worker": 2})
    found = after(workers, [running(workers, "Worker", 1)])
    assert [name(p) for p in found.create_pods] == ["mnist-worker-0"]


def test_pods_beyond_the_wanted_number_go() -> None:
    three, two = job(PYTORCH, {"Worker": 3}), job(PYTORCH, {"Worker": 2})
    found = after(two, [running(three, "Worker", i) for i in range(3)])
    assert [name(p) for p in found.delete_pods] == ["mnist-worker-2"]


def test_the_job_runs_when_its_leader_runs() -> None:
    trained = job(XGBOOST, {"Master": 1, "Worker": 1})
    assert conditions(after(trained, [running(trained, "Worker")])) == {"Created": "True"}
    found = after(trained, [running(trained, "Master"), running(trained, "Worker")])
    assert conditions(found) == {"Created": "True", "Running": "True"}
    assert found.status["replicaStatuses"]["Worker"]["active"] == 1


def test_the_job_succeeds_with_its_master_whatever_the_workers_do() -> None:
    trained = job(XGBOOST, {"Master": 1, "Worker": 1})
    first = after(trained, [running(trained, "Master"), running(trained, "Worker")])
    done = [in_phase(trained, "Master", 0, "Succeeded", 0), running(trained, "Worker")]
    found = after(with_status(trained, first.status), done)
    assert [c["type"] for c in found.status["conditions"]] == ["Created", "Running", "Succeeded"]
    assert conditions(found) == {"Created": "True", "Running": "False", "Succeeded": "True"}
    assert found.status["completionTime"] == "2026-01-01T12:00:00Z"
    assert found.delete_pods == []


@pytest.mark.parametrize(("policy", "ended"), [("", True), ("AllWorkers", False)])
def test_tensorflow_succeeds_with_worker_0_or_with_all(policy: str, ended: bool) -> None:
    trained = job(TENSORFLOW, {"Worker": 2}, successPolicy=policy)
    pods = [in_phase(trained, "Worker", 0, "Succeeded"), running(trained, "Worker", 1)]
    assert ("Succeeded" in conditions(after(trained, pods))) is ended


def test_pytorch_without_a_master_needs_all_workers() -> None:
    trained = job(PYTORCH, {"Worker": 2})
    one = [in_phase(trained, "Worker", 0, "Succeeded"), running(trained, "Worker", 1)]
    assert "Succeeded" not in conditions(after(trained, one))
    both = [in_phase(trained, "Worker", i, "Succeeded") for i in range(2)]
    assert conditions(after(trained, both))["Succeeded"] == "True"


def test_a_failed_replica_that_is_not_restarted_fails_the_job_and_says_why() -> None:
    trained = job(TENSORFLOW, {"Worker": 1})
    found = after(trained, [in_phase(trained, "Worker", 0, "Failed", 3)])
    failed = found.status["conditions"][-1]
    assert (failed["type"], failed["reason"]) == ("Failed", "TFJobFailed")
    assert "pod mnist-worker-0 failed with exit code 3" in failed["message"]
    assert [note.reason for note in found.notes] == [
        "TFJobCreated",
        "ExitedWithCode",
        "TFJobFailed",
    ]


@pytest.mark.parametrize(
    ("code", "restarted"), [(1, False), (127, False), (128, True), (137, True)]
)
def test_exit_code_policy_restarts_what_a_signal_ended(code: int, restarted: bool) -> None:
    trained = job(TENSORFLOW, {"Worker": 1})
    trained.obj["spec"]["tfReplicaSpecs"]["Worker"]["restartPolicy"] = "ExitCode"
    trained = TrainingJob(TENSORFLOW, trained.obj)
    found = after(trained, [in_phase(trained, "Worker", 0, "Failed", code)])
    assert ("Restarting" in conditions(found)) is restarted
    assert ("Failed" in conditions(found)) is not restarted
    assert [name(p) for p in found.delete_pods] == (["mnist-worker-0"] if restarted else [])


def test_running_and_restarting_replace_one_another() -> None:
    trained = job(PYTORCH, {"Master": 1})
    up = after(trained, [running(trained, "Master")])
    down = after(with_status(trained, up.status), [in_phase(trained, "Master", 0, "Failed", 1)])
    assert conditions(down) == {"Created": "True", "Restarting": "True"}
    again = after(with_status(trained, down.status), [running(trained, "Master")])
    assert conditions(again) == {"Created": "True", "Running": "True"}


def test_too_many_restarts_fail_the_job() -> None:
    trained = job(PYTORCH, {"Master": 1}, runPolicy={"backoffLimit": 1})
    first = after(trained, [in_phase(trained, "Master", 0, "Failed", 1)])
    assert conditions(first) == {"Created": "True", "Restarting": "True"}
    second = after(
        with_status(trained, first.status), [in_phase(trained, "Master", 0, "Failed", 1)]
    )
    assert conditions(second) == {"Created": "True", "Failed": "True"}
    assert "backoff limit" in second.status["conditions"][-1]["message"]


def test_a_restart_is_counted_once_however_often_somebody_looks() -> None:
    trained = job(PYTORCH, {"Master": 1}, runPolicy={"backoffLimit": 1})
    failed = in_phase(trained, "Master", 0, "Failed", 1)
    found = after(trained, [failed])
    for _ in range(2):
        found = after(with_status(trained, found.status), [failed])
        assert conditions(found) == {"Created": "True", "Restarting": "True"}
        assert found.delete_pods == [failed]
        assert found.status["replicaStatuses"]["Master"]["restarts"] == 1
    found = after(with_status(trained, found.status), [running(trained, "Master")])
    assert "restarting" not in found.status["replicaStatuses"]["Master"]


def test_a_deadline_fails_the_job_when_it_passes() -> None:
    trained = job(TENSORFLOW, {"Worker": 1}, runPolicy={"activeDeadlineSeconds": 60})
    first = after(trained, [])
    assert first.requeue_after == 60
    late = after(
        with_status(trained, first.status),
        [running(trained, "Worker")],
        NOW + dt.timedelta(seconds=61),
    )
    assert conditions(late)["Failed"] == "True"


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        ("None", []),
        ("Running", ["mnist-worker-0"]),
        ("All", ["mnist-master-0", "mnist-worker-0"]),
    ],
)
def test_the_clean_pod_policy_says_what_is_left_at_the_end(policy: str, gone: list[str]) -> None:
    trained = job(XGBOOST, {"Master": 1, "Worker": 1}, runPolicy={"cleanPodPolicy": policy})
    pods = [in_phase(trained, "Master", 0, "Succeeded", 0), running(trained, "Worker")]
    assert sorted(name(p) for p in after(trained, pods).delete_pods) == gone


def test_an_ended_job_is_deleted_when_its_time_to_live_is_over() -> None:
    trained = job(XGBOOST, {"Master": 1}, runPolicy={"ttlSecondsAfterFinished": 10})
    ended = after(trained, [in_phase(trained, "Master", 0, "Succeeded", 0)])
    kept = with_status(trained, ended.status)
    assert after(kept, []).requeue_after == 10
    assert after(kept, [], NOW + dt.timedelta(seconds=10)).delete_job


def test_suspending_takes_the_pods_and_resuming_starts_afresh() -> None:
    trained = job(XGBOOST, {"Master": 1}, runPolicy={"suspend": True})
    pod = running(trained, "Master")
    suspended = after(trained, [pod])
    assert suspended.delete_pods == [pod]
    assert conditions(suspended) == {"Created": "True", "Suspended": "True"}
    assert "startTime" not in suspended.status
    trained.obj["spec"]["runPolicy"]["suspend"] = False
    resumed = after(with_status(TrainingJob(XGBOOST, trained.obj), suspended.status), [])
    assert conditions(resumed)["Suspended"] == "False"
    assert [name(p) for p in resumed.create_pods] == ["mnist-master-0"]


def test_pods_that_cannot_be_scheduled_are_named_with_what_they_wait_for() -> None:
    trained = job(TENSORFLOW, {"Worker": 2})
    pods = [in_phase(trained, "Worker", i, "Pending") for i in range(2)]
    for pod in pods:
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            }
        ]
    found = after(trained, pods)
    waiting = (
        "2 of 2 pods wait: Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    )
    assert found.status["conditions"][0]["message"].endswith(waiting)
    assert found.notes[-1].message == waiting
    again = after(with_status(trained, found.status), pods)
    assert again.notes == []


def test_a_restart_policy_in_the_template_is_told_to_have_no_effect() -> None:
    trained = job(TENSORFLOW, {"Worker": 1})
    template = trained.obj["spec"]["tfReplicaSpecs"]["Worker"]["template"]
    template["spec"]["restartPolicy"] = "Always"
    found = after(TrainingJob(TENSORFLOW, trained.obj), [])
    assert "SettedPodTemplateRestartPolicy" in [note.reason for note in found.notes]
    assert found.create_pods[0]["spec"]["restartPolicy"] == "Never"


def test_an_evicted_pod_of_an_mpi_job_is_named_as_such() -> None:
    trained = job(MPI, {"Launcher": 1, "Worker": 1})
    evicted = in_phase(trained, "Worker", 0, "Failed")
    evicted["status"]["reason"] = "Evicted"
    failed = after(trained, [running(trained, "Launcher"), evicted]).status["conditions"][-1]
    assert (failed["type"], failed["reason"]) == ("Failed", "MPIJobEvicted")
