"""Why pods do not come up, in the words a node reports it."""

from __future__ import annotations

from typing import Any

import pytest

from kubeling.kube.objects import Obj
from kubeling.serving.observation import pod_failure

MEMORY = {"limits": {"memory": "64Mi"}}


def pod(init: Any = None, main: Any = None, **status: Any) -> Obj:
    statuses = {
        "initContainerStatuses": [{"name": "storage-initializer", "state": init or {}}],
        "containerStatuses": [{"name": "kserve-container", "state": main or {}}],
    }
    return {"metadata": {"name": "p"}, "status": {**statuses, **status}}


def ended(code: int, message: str = "") -> Obj:
    return {"terminated": {"exitCode": code, "message": message, "reason": "Error"}}


def again(code: int, message: str) -> Obj:
    """A pod whose container runs once more."""
    found = pod(main={"running": {}})
    found["status"]["containerStatuses"][0]["lastState"] = ended(code, message)
    return found


def kept_ending(code: int, reason: str = "Error") -> Obj:
    """A pod whose container is kept from starting for a while."""
    found = pod(main=waits("CrashLoopBackOff", "back-off 10s"))
    found["spec"] = {"containers": [{"name": "kserve-container", "resources": MEMORY}]}
    last = {"terminated": {"exitCode": code, "reason": reason}}
    found["status"]["containerStatuses"][0]["lastState"] = last
    return found


def served_until_it_ended() -> Obj:
    """A pod whose container crashed after a minute of answering, and runs once more."""
    found = again(139, "")
    found["status"]["startTime"] = "2026-01-01T00:00:00Z"
    last = found["status"]["containerStatuses"][0]["lastState"]["terminated"]
    last["finishedAt"] = "2026-01-01T00:01:00Z"
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"}
    found["status"]["conditions"] = [unready]
    return found


def waits(reason: str, message: str = "") -> Obj:
    return {"waiting": {"reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (pod(init=ended(1, "x\ncannot fetch gs://a: no\n")), "ModelLoadFailed", "cannot fetch gs"),
        (pod(main=ended(1, "boom")), "ModelLoadFailed", "container kserve-container: boom"),
        (again(1, "boom"), "ModelLoadFailed", "container kserve-container: boom"),
        (pod(main=ended(139)), "ModelLoadFailed", "exit code 139; see kubectl logs p -c kserve-"),
        (kept_ending(137), "ModelLoadFailed", "exit code 137; see kubectl logs p -c kserve-"),
        (kept_ending(137, "OOMKilled"), "ModelLoadFailed", "more memory than its limit of 64Mi"),
        (
            pod(main=waits("ErrImagePull", "uv pip: no such package")),
            "RuntimeUnhealthy",
            "container kserve-container: ErrImagePull: uv pip: no such package",
        ),
        (
            pod(init=waits("ContainerCreating", 'volume "model-source-0": hostPath /x is missing')),
            "ModelLoadFailed",
            "hostPath /x is missing; check storageUri",
        ),
    ],
)
def test_a_failure_is_told_in_the_users_terms(found: Obj, reason: str, message: str) -> None:
    failure = pod_failure(found)
    assert failure is not None
    assert failure.reason == reason
    assert message in failure.message
    assert not failure.waiting


@pytest.mark.parametrize(
    "found",
    [
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "no cpu left"}]),
        pod(main=waits("ContainerCreating", "no cpu left")),
    ],
)
def test_what_may_pass_by_itself_is_no_failure_yet(found: Obj) -> None:
    failure = pod_failure(found)
    assert failure is not None
    assert failure.waiting
    assert failure.message == "no cpu left"


@pytest.mark.parametrize(
    "found",
    [
        pod(),
        pod(init=waits("PodInitializing"), main=waits("ContainerCreating")),
        pod(init=ended(0), main={"running": {}}),
        pod(main=ended(1), conditions=[{"type": "Ready", "status": "True"}]),
        again(143, "INFO started"),
        pod(main=ended(137)),
        served_until_it_ended(),
    ],
)
def test_a_pod_on_its_way_has_no_failure(found: Obj) -> None:
    assert pod_failure(found) is None
