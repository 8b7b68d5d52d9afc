"""What an MPIJob has beside its pods, and how they are made ready for ``mpirun``.

The launcher finds the workers in a hostfile and starts its daemons in their pods through an agent,
as it would over ssh elsewhere. Upstream's agent is kubectl, which an init container copies into
the launcher; ours is a Python file in the ConfigMap (:mod:`kubeling.training.podexec`), and kubectl
only where an image has no Python. The objects' names, the files and the variables are upstream's
(``mpijob_controller.go`` of the Training Operator 1.9).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from kubeling.kube.objects import Obj, name
from kubeling.kube.resources import (
    CONFIG_MAPS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
)
from kubeling.training.companions import Companion
from kubeling.training.job import Env, Replica, TrainingJob, env

__all__ = ["environment", "objects", "prepare"]

LAUNCHER: Final = "Launcher"
WORKER: Final = "Worker"

_MOUNT: Final = "/etc/mpi"
_AGENT: Final = "kubexec.sh"
_PROGRAM: Final = "podexec.py"
_HOSTS: Final = "hostfile"
_DISCOVER: Final = "discover_hosts.sh"
_VOLUME: Final = "mpi-job-config"
_SCRIPT, _DATA = 0o555, 0o444

_KUBEXEC: Final = """\
#!/bin/sh
# Starts a command in a worker's pod: what mpirun takes for ssh.
KUBELING_MPI_CONTAINER={container}
export KUBELING_MPI_CONTAINER
for python in python3 python; do
    command -v "$python" >/dev/null && exec "$python" {program} "$@"
done
pod=$1
shift
kubectl wait "pod/$pod" --for=jsonpath='{{.status.phase}}'=Running --timeout=600s >/dev/null &&
    exec kubectl exec "$pod" {option}-- /bin/sh -c "$*"
"""


def environment(job: TrainingJob, replica: Replica) -> Env:
    """What tells ``mpirun`` (Open MPI's and Intel's) of its hosts and its agent."""
    if replica.type != LAUNCHER:
        return []
    agent, hosts = f"{_MOUNT}/{_AGENT}", f"{_MOUNT}/{_HOSTS}"
    found = env(
        OMPI_MCA_plm_rsh_agent=agent,
        OMPI_MCA_orte_default_hostfile=hosts,
        PRTE_MCA_plm_ssh_agent=agent,  # Open MPI 5 reads these two instead.
        PRTE_MCA_prte_default_hostfile=hosts,
        OMPI_ALLOW_RUN_AS_ROOT=1,  # In a pod that is nothing out of the ordinary.
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1,
        I_MPI_HYDRA_BOOTSTRAP="rsh",
        I_MPI_HYDRA_BOOTSTRAP_EXEC=agent,
    )
    if not _launcher_has_gpus(job):
        found += env(NVIDIA_VISIBLE_DEVICES="", NVIDIA_DRIVER_CAPABILITIES="")
    return found


def prepare(job: TrainingJob, replica: Replica, content: Obj) -> None:
    """Adds the files and the account to a pod's spec, and what a worker does meanwhile."""
    first: Obj = (content.get("containers") or [{}])[0]
    files_of = {_AGENT: _SCRIPT, _PROGRAM: _DATA}
    if replica.type == LAUNCHER:
        files_of |= {_HOSTS: _DATA, _DISCOVER: _SCRIPT}
        content.setdefault("serviceAccountName", f"{job.name}-launcher")
    elif not first.get("command"):
        first |= {"command": ["sleep"], "args": ["365d"]}
    items = [{"key": key, "path": key, "mode": mode} for key, mode in files_of.items()]
    volume = {"name": _VOLUME, "configMap": {"name": f"{job.name}-config", "items": items}}
    content["volumes"] = [*(content.get("volumes") or ()), volume]
    mount = {"name": _VOLUME, "mountPath": _MOUNT}
    first["volumeMounts"] = [*(first.get("volumeMounts") or ()), mount]


def objects(job: TrainingJob, pods: Sequence[Obj]) -> list[Companion]:
    """The ConfigMap, and the account that may start commands in the workers' pods."""
    launcher = f"{job.name}-launcher"
    spec = job.replica_specs[LAUNCHER].template.get("spec") or {}
    account = spec.get("serviceAccountName") or launcher
    subject = {"kind": "ServiceAccount", "name": account, "namespace": job.namespace}
    role = {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": launcher}
    return [
        Companion(CONFIG_MAPS, f"{job.name}-config", {"data": _files(job, pods)}),
        Companion(SERVICE_ACCOUNTS, account, {}, shared=True),
        Companion(ROLES, launcher, {"rules": _rules(job)}),
        Companion(ROLE_BINDINGS, launcher, {"subjects": [subject], "roleRef": role}),
    ]


def _files(job: TrainingJob, pods: Sequence[Obj]) -> dict[str, str]:
    slots = int(job.spec.get("slotsPerWorker") or 1)
    container = str(job.spec.get("mainContainer") or "")
    own = [f"{job.name}-launcher"] if _launcher_has_gpus(job) else []
    hosts = [*own, *_workers(job)]
    running = {name(pod) for pod in pods if (pod.get("status") or {}).get("phase") == "Running"}
    reachable = [*own, *(host for host in _workers(job) if host in running)]
    agent = _KUBEXEC.format(
        container=container,
        program=f"{_MOUNT}/{_PROGRAM}",
        option=f"--container {container} " if container else "",
    )
    return {
        _HOSTS: "".join(f"{host} slots={slots}\n" for host in hosts),
        _DISCOVER: "\n".join(["#!/bin/sh", *(f"echo {host}:{slots}" for host in reachable), ""]),
        _AGENT: agent,
        _PROGRAM: files("kubeling.training").joinpath(_PROGRAM).read_text(),
    }


def _rules(job: TrainingJob) -> list[Obj]:
    return [
        {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]},
        {
            "verbs": ["create", "get"],  # Over a websocket an exec is a GET.
            "apiGroups": [""],
            "resources": ["pods/exec"],
            "resourceNames": _workers(job),
        },
    ]


def _workers(job: TrainingJob) -> list[str]:
    return [job.pod_name(Replica(WORKER, index)) for index in range(job.count(WORKER))]


def _launcher_has_gpus(job: TrainingJob) -> bool:
    """Then the launcher trains too, and is a host like the workers."""
    spec = job.replica_specs[LAUNCHER].template.get("spec") or {}
    named = [
        key
        for container in spec.get("containers") or ()
        for key in (container.get("resources") or {}).get("limits") or ()
    ]
    return any("gpu" in key for key in named)
