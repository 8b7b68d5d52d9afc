"""Training jobs against a real API server; the test plays the node agent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.apiserver import running_server
from tests.training.jobs import manifest

from kubeling.component import Context, Settings
from kubeling.kube.client import Client
from kubeling.kube.controller import run_controllers
from kubeling.kube.errors import Invalid
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, name, new_object
from kubeling.kube.resources import CONFIG_MAPS, EVENTS, PODS, ROLES, SERVICES, Resource
from kubeling.training.component import COMPONENT
from kubeling.training.kinds import MPI, TENSORFLOW, XGBOOST
from kubeling.training.resources import MPI_JOBS, TF_JOBS, XGBOOST_JOBS

_ADMISSION = "admissionregistration.k8s.io"
VALIDATING_ADMISSION_POLICIES = Resource(
    _ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False
)
VALIDATING_ADMISSION_POLICY_BINDINGS = Resource(
    _ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False
)
KEEPING = new_object(
    VALIDATING_ADMISSION_POLICIES,
    "pods-stay",
    spec={
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["DELETE"],
                    "resources": ["pods"],
                }
            ]
        },
        "validations": [{"expression": "false", "message": "pods stay"}],
    },
)
KEEPING_ALL = new_object(
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    "pods-stay",
    spec={"policyName": "pods-stay", "validationActions": ["Deny"]},
)


@dataclass
class Team:
    """A namespace in which the training controllers run."""

    client: Client
    informers: Informers

    async def until(
        self, resource: Resource, of: str, holds: Callable[[Obj | None], object]
    ) -> Obj:
        """The object once it satisfies a condition."""
        reached: asyncio.Future[Obj] = asyncio.get_running_loop().create_future()

        def look(_: Obj | None, new: Obj | None) -> None:
            if new is not None and name(new) == of and holds(new) and not reached.done():
                reached.set_result(new)

        self.informers.of(resource).add_handler(look)
        return await asyncio.wait_for(reached, 20)

    async def until_event(self, text: str) -> Obj:
        """An event that says so, once there is one."""
        found: asyncio.Future[Obj] = asyncio.get_running_loop().create_future()

        def look(_: Obj | None, new: Obj | None) -> None:
            if new is not None and text in new.get("message", "") and not found.done():
                found.set_result(new)

        self.informers.of(EVENTS).add_handler(look)
        return await asyncio.wait_for(found, 20)

    async def phase(self, pod: str, phase: str, exit_code: int | None = None) -> None:
        """What the agent reports of a pod."""
        status: Obj = {"phase": phase}
        if exit_code is not None:
            container = (await self.client.get(PODS, pod, "team"))["spec"]["containers"][0]
            ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}
            status["containerStatuses"] = [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ]
        await self.client.patch_status(PODS, pod, status, "team")


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Team]:
    async with running_server(COMPONENT) as running, Informers(running.client) as informers:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
        await running.client.raw("POST", "/api/v1/namespaces", body=namespace)
        context = Context(running.client, informers, Settings(tmp_path, tmp_path))
        controllers = asyncio.create_task(
            run_controllers(COMPONENT.controllers(context), informers)
        )
        yield Team(running.client, informers)
        controllers.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await controllers


def condition(of: str) -> Callable[[Obj | None], object]:
    """Whether an object has a condition that is True."""

    def holds(obj: Obj | None) -> object:
        conditions = ((obj or {}).get("status") or {}).get("conditions") or ()
        return any(c["type"] == of and c["status"] == "True" for c in conditions)

    return holds


async def test_a_job_runs_from_its_pods_to_its_end(team: Team) -> None:
    await team.client.create(XGBOOST_JOBS, manifest(XGBOOST, {"Master": 1, "Worker": 2}))
    await team.until(PODS, "mnist-worker-1", bool)
    await team.until(SERVICES, "mnist-master-0", bool)
    for pod in ("mnist-master-0", "mnist-worker-0", "mnist-worker-1"):
        await team.until(PODS, pod, bool)
        await team.phase(pod, "Running")
    await team.until(XGBOOST_JOBS, "mnist", condition("Running"))
    await team.phase("mnist-master-0", "Succeeded", 0)
    done = await team.until(XGBOOST_JOBS, "mnist", condition("Succeeded"))
    assert [c["type"] for c in done["status"]["conditions"]] == ["Created", "Running", "Succeeded"]
    assert done["status"]["replicaStatuses"]["Worker"]["succeeded"] == 2


async def test_a_retryable_failure_replaces_the_pod_once(team: Team) -> None:
    job = manifest(TENSORFLOW, {"Worker": 1})
    job["spec"]["tfReplicaSpecs"]["Worker"]["restartPolicy"] = "ExitCode"
    await team.client.create(TF_JOBS, job)
    first = await team.until(PODS, "mnist-worker-0", bool)
    await team.phase("mnist-worker-0", "Failed", 137)
    again = await team.until(
        PODS,
        "mnist-worker-0",
        lambda pod: pod and pod["metadata"]["uid"] != first["metadata"]["uid"],
    )
    assert again["status"]["phase"] == "Pending"
    restarted = await team.until(TF_JOBS, "mnist", condition("Restarting"))
    assert restarted["status"]["replicaStatuses"]["Worker"]["restarts"] == 1


async def test_a_pod_whose_deletion_the_api_refused_is_deleted_later(team: Team) -> None:
    await team.client.create(VALIDATING_ADMISSION_POLICIES, KEEPING)
    await team.client.create(VALIDATING_ADMISSION_POLICY_BINDINGS, KEEPING_ALL)
    job = manifest(TENSORFLOW, {"Worker": 1})
    job["spec"]["tfReplicaSpecs"]["Worker"]["restartPolicy"] = "ExitCode"
    await team.client.create(TF_JOBS, job)
    first = await team.until(PODS, "mnist-worker-0", bool)
    await team.phase("mnist-worker-0", "Failed", 137)
    await team.until(TF_JOBS, "mnist", condition("Restarting"))
    binding = KEEPING_ALL["metadata"]["name"]
    await team.client.delete(VALIDATING_ADMISSION_POLICY_BINDINGS, binding)
    await team.until(
        PODS,
        "mnist-worker-0",
        lambda pod: pod and pod["metadata"]["uid"] != first["metadata"]["uid"],
    )
    restarted = await team.client.get(TF_JOBS, "mnist", "team")
    assert restarted["status"]["replicaStatuses"]["Worker"]["restarts"] == 1


async def test_a_job_tells_what_its_pods_wait_for(team: Team) -> None:
    await team.client.create(TF_JOBS, manifest(TENSORFLOW, {"Worker": 1}))
    await team.until(PODS, "mnist-worker-0", bool)
    why = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": why,
    }
    await team.client.patch_status(PODS, "mnist-worker-0", {"conditions": [unschedulable]}, "team")
    job = await team.until(TF_JOBS, "mnist", lambda job: why in str(job))
    assert job["status"]["conditions"][0]["type"] == "Created"
    event = await team.until_event(why)
    assert event["involvedObject"]["kind"] == "TFJob"


async def test_an_mpi_job_keeps_its_files_up_to_date(team: Team) -> None:
    await team.client.create(MPI_JOBS, manifest(MPI, {"Launcher": 1, "Worker": 2}))
    await team.until(PODS, "mnist-worker-1", bool)
    role = await team.client.get(ROLES, "mnist-launcher", "team")
    assert role["rules"][1]["resourceNames"] == ["mnist-worker-0", "mnist-worker-1"]
    await team.phase("mnist-worker-1", "Running")
    found = await team.until(
        CONFIG_MAPS, "mnist-config", lambda c: "worker-1" in c["data"]["discover_hosts.sh"]
    )
    assert "worker-0" not in found["data"]["discover_hosts.sh"]
    assert await team.client.find(SERVICES, "mnist-worker-0", "team") is None


async def test_another_object_in_the_way_is_named(team: Team) -> None:
    await team.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "mnist-config", "team"))
    await team.client.create(MPI_JOBS, manifest(MPI, {"Launcher": 1, "Worker": 1}))
    event = await team.until_event("exists and is not of this job; delete it")
    assert event["reason"] == "ErrResourceExists"
    await team.client.delete(CONFIG_MAPS, "mnist-config", "team")
    await team.until(PODS, "mnist-launcher", bool)


async def test_a_manifest_with_a_mistake_is_refused_with_the_field(team: Team) -> None:
    job = manifest(XGBOOST, {"Worker": 1})
    with pytest.raises(Invalid, match=r"spec\.xgbReplicaSpecs\[Master\]: Required value"):
        await team.client.create(XGBOOST_JOBS, job)
