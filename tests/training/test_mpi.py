"""What an MPIJob's launcher finds: its hosts, the agent that reaches them, and the right to."""

from __future__ import annotations

import pytest
from tests.training.jobs import environment, in_phase, job, running

from kubeling.kube.objects import Obj
from kubeling.training.companions import Companion
from kubeling.training.job import Replica, TrainingJob
from kubeling.training.kinds import MPI
from kubeling.training.mpi import objects
from kubeling.training.pods import pod


def hello(**spec: object) -> TrainingJob:
    return job(MPI, {"Launcher": 1, "Worker": 2}, **spec)


def companion(of: TrainingJob, kind: str, pods: tuple[Obj, ...] = ()) -> Companion:
    return next(found for found in objects(of, pods) if found.resource.kind == kind)


def file(of: TrainingJob, name: str, *pods: Obj) -> str:
    content = companion(of, "ConfigMap", pods).content
    assert content is not None
    return str(content["data"][name])


def mounted(of: TrainingJob, role: str) -> dict[str, int]:
    spec = pod(of, Replica(role, 0))["spec"]
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/etc/mpi"
    return {item["path"]: item["mode"] for item in spec["volumes"][0]["configMap"]["items"]}


def test_the_hostfile_names_the_workers_and_their_slots() -> None:
    hosts = file(hello(slotsPerWorker=4), "hostfile")
    assert hosts == "mnist-worker-0 slots=4\nmnist-worker-1 slots=4\n"


def test_a_launcher_with_gpus_is_a_host_too() -> None:
    trained = hello()
    spec = trained.obj["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]
    spec["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    trained = TrainingJob(MPI, trained.obj)
    assert file(trained, "hostfile").startswith("mnist-launcher slots=1\n")
    assert "NVIDIA_VISIBLE_DEVICES" not in environment(trained, "Launcher")


def test_only_running_workers_are_discovered() -> None:
    trained = hello()
    pods = (running(trained, "Worker", 1), in_phase(trained, "Worker", 0, "Pending"))
    assert file(trained, "discover_hosts.sh", *pods) == "#!/bin/sh\necho mnist-worker-1:1\n"


def test_mpirun_is_told_of_its_hosts_and_of_the_agent() -> None:
    found = environment(hello(), "Launcher")
    assert found["OMPI_MCA_plm_rsh_agent"] == "/etc/mpi/kubexec.sh"
    assert found["OMPI_MCA_orte_default_hostfile"] == "/etc/mpi/hostfile"
    assert found["NVIDIA_VISIBLE_DEVICES"] == ""
    assert environment(hello(), "Worker") == {}


def test_the_agent_reaches_the_container_the_job_names() -> None:
    assert "KUBELING_MPI_CONTAINER=trainer" in file(hello(mainContainer="trainer"), "kubexec.sh")


def test_the_files_are_where_mpirun_looks() -> None:
    trained = hello()
    assert mounted(trained, "Worker") == {"kubexec.sh": 0o555, "podexec.py": 0o444}
    assert mounted(trained, "Launcher").keys() >= {"hostfile", "discover_hosts.sh", "kubexec.sh"}


def test_a_worker_without_a_command_waits_to_be_told() -> None:
    trained = hello()
    spec = trained.obj["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]
    del spec["containers"][0]["command"]
    container = pod(TrainingJob(MPI, trained.obj), Replica("Worker", 0))["spec"]["containers"][0]
    assert (container["command"], container["args"]) == (["sleep"], ["365d"])


def test_the_launcher_is_one_pod_without_a_number() -> None:
    made = pod(hello(), Replica("Launcher", 0))
    assert made["metadata"]["name"] == "mnist-launcher"
    assert made["metadata"]["labels"]["training.kubeflow.org/job-role"] == "master"
    assert made["metadata"]["labels"]["mpi-job-role"] == "launcher"
    assert made["spec"]["serviceAccountName"] == "mnist-launcher"


def test_the_launcher_may_start_commands_in_its_workers_only() -> None:
    content = companion(hello(), "Role").content
    assert content is not None
    rule = content["rules"][1]
    assert rule["resources"] == ["pods/exec"]
    assert rule["resourceNames"] == ["mnist-worker-0", "mnist-worker-1"]


@pytest.mark.parametrize("own", ["", "mine"])
def test_an_account_of_the_users_gets_the_right_instead(own: str) -> None:
    trained = hello()
    if own:
        template = trained.obj["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]
        template["spec"]["serviceAccountName"] = own
    trained = TrainingJob(MPI, trained.obj)
    account = own or "mnist-launcher"
    assert companion(trained, "ServiceAccount").name == account
    content = companion(trained, "RoleBinding").content
    assert content is not None
    assert content["subjects"][0]["name"] == account
    assert pod(trained, Replica("Launcher", 0))["spec"]["serviceAccountName"] == account
