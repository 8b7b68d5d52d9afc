"""`why`: the first cause, found down the owner tree."""

from typing import Any

from kubeling.kube.diagnosis import OwnerTree, first_causes, trouble

Obj = dict[str, Any]


def thing(kind: str, name: str, owner: Obj | None = None, **status: Any) -> Obj:
    metadata: Obj = {"name": name, "namespace": "default", "uid": f"{kind}-{name}"}
    if owner:
        reference = {"kind": owner["kind"], "uid": owner["metadata"]["uid"], "controller": True}
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "status": status}


def failed_pod(name: str, owner: Obj | None, code: int, when: str) -> Obj:
    ended = {"exitCode": code, "reason": "Error", "finishedAt": when}
    return thing(
        "Pod",
        name,
        owner,
        phase="Failed",
        containerStatuses=[{"name": "main", "state": {"terminated": ended}}],
    )


def test_the_failed_container_is_the_cause_not_the_objects_above_it() -> None:
    workflow = thing("Workflow", "w", phase="Failed", message="child failed")
    pod = failed_pod("w-1", workflow, 3, "2026-01-01T00:00:00Z")
    (cause,) = first_causes(workflow, OwnerTree([workflow, pod]))
    assert [obj["kind"] for obj in cause.path] == ["Workflow", "Pod"]
    assert cause.finding.exit_code == 3
    assert cause.finding.container == "main"


def test_the_earliest_of_several_failures_comes_first() -> None:
    job = thing("Job", "j")
    late = failed_pod("late", job, 1, "2026-01-01T00:00:09Z")
    early = failed_pod("early", job, 1, "2026-01-01T00:00:01Z")
    causes = first_causes(job, OwnerTree([job, late, early]))
    assert [cause.object["metadata"]["name"] for cause in causes] == ["early", "late"]


def test_what_a_pod_waits_for_is_a_cause() -> None:
    waiting = {"reason": "ErrImagePull", "message": "add an entry to images.yaml"}
    pod = thing("Pod", "p", containerStatuses=[{"name": "c", "state": {"waiting": waiting}}])
    (finding,) = trouble(pod)
    assert finding.reason == "ErrImagePull"
    assert "images.yaml" in finding.message


def test_a_container_that_was_ended_with_its_node_and_is_ready_again_has_no_trouble() -> None:
    def restarted(**before: Any) -> Obj:
        entry = {
            "name": "c",
            "ready": True,
            "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "Error", **before}},
        }
        return thing("Pod", "p", containerStatuses=[entry])

    assert trouble(restarted()) == []
    assert trouble(restarted(exitCode=143)) == []
    assert [f.reason for f in trouble(restarted(reason="OOMKilled"))] == ["OOMKilled"]
    assert [f.exit_code for f in trouble(restarted(exitCode=1))] == [1]


def test_an_attempt_that_failed_is_no_cause_once_the_whole_succeeded() -> None:
    job = thing("Job", "j", conditions=[{"type": "Complete", "status": "True"}])
    assert first_causes(job, OwnerTree([job, failed_pod("p", job, 1, "")])) == []


def test_a_search_that_is_over_and_found_nothing_has_a_cause() -> None:
    over = [{"type": "Succeeded", "status": "True", "reason": "ExperimentSuggestionEndReached"}]
    experiment = thing("Experiment", "e", conditions=over, trials=1, trialsFailed=1)
    pod = failed_pod("e-1", experiment, 1, "")
    (cause,) = first_causes(experiment, OwnerTree([experiment, pod]))
    assert cause.object is pod
    experiment["status"] |= {"trials": 2, "trialsSucceeded": 1}
    assert first_causes(experiment, OwnerTree([experiment, pod])) == []


def test_a_warning_speaks_where_the_status_is_silent() -> None:
    pvc = thing("PersistentVolumeClaim", "data")
    event = {
        "type": "Warning",
        "reason": "ProvisioningFailed",
        "message": "no such class",
        "involvedObject": {"uid": pvc["metadata"]["uid"]},
    }
    (cause,) = first_causes(pvc, OwnerTree([pvc], [event]))
    assert cause.finding.reason == "ProvisioningFailed"


def test_a_condition_that_should_be_false_is_no_trouble_when_it_is() -> None:
    service = thing(
        "InferenceService",
        "m",
        conditions=[
            {"type": "Ready", "status": "True"},
            {"type": "Stopped", "status": "False", "reason": "NotStopped"},
        ],
    )
    assert trouble(service) == []
