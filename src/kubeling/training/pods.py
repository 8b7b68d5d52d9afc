"""The Pod and the Service of one replica."""

from __future__ import annotations

from kubeling.kube.objects import Obj, deep_copy, new_object
from kubeling.kube.resources import PODS, SERVICES
from kubeling.training.gangs import hand_over
from kubeling.training.job import (
    JOB_ROLE,
    REPLICA_INDEX,
    Env,
    Replica,
    TrainingJob,
)
from kubeling.training.network import alias
from kubeling.training.settings import GangScheduler

__all__ = ["pod", "service"]


def pod(job: TrainingJob, replica: Replica, gang: GangScheduler = "none") -> Obj:
    """The pod of a replica: the role's template with the job's labels and environment."""
    spec = job.replica_specs[replica.type]
    template: Obj = deep_copy(spec.template)
    metadata = template.get("metadata") or {}
    content: Obj = template.get("spec") or {}
    policy = job.restart_policy(replica.type)
    # The agent restarts nothing under ExitCode: only the operator can tell the codes apart.
    content["restartPolicy"] = "Never" if policy == "ExitCode" else policy
    scheduling = job.run_policy.scheduling_policy
    if scheduling is not None and scheduling.priority_class:
        content.setdefault("priorityClassName", scheduling.priority_class)
    for container in content.get("containers") or ():
        # A failure is then told with the end of the log, in the pod and so in the job.
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    _add_environment(job, content, job.kind.environment(job, replica))
    for container in content.get("containers") or ():
        if container.get("ports"):
            container["ports"] = [_met(job, replica, port) for port in container["ports"]]
    if job.kind.prepare is not None:
        job.kind.prepare(job, replica, content)
    if job.shared_network and job.kind.services:
        content["hostAliases"] = [*(content.get("hostAliases") or ()), _neighbours(job)]
    made = new_object(
        PODS,
        job.pod_name(replica),
        job.namespace,
        labels={**(metadata.get("labels") or {}), **labels(job, replica)},
        annotations=metadata.get("annotations"),
        owner=job.obj,
        spec=content,
    )
    hand_over(job, replica, gang, made)
    return made


def service(job: TrainingJob, replica: Replica) -> Obj:
    """The headless Service through which the other replicas find this one by name.

    Addresses are published before the pod is ready, because the processes wait for one another
    while they start.
    """
    ports = [
        {"name": port.get("name") or f"port-{port['containerPort']}", "port": port["containerPort"]}
        for port in (
            _met(job, replica, declared)
            for declared in job.default_container(replica.type).get("ports") or ()
        )
    ]
    if not any(port["name"] == job.kind.port_name for port in ports):
        ports.append({"name": job.kind.port_name, "port": job.port(replica)})
    selector = {**job.labels(replica.type), REPLICA_INDEX: str(replica.index)}
    return new_object(
        SERVICES,
        job.pod_name(replica),
        job.namespace,
        labels=labels(job, replica),
        owner=job.obj,
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector,
            "ports": ports,
        },
    )


def _neighbours(job: TrainingJob) -> Obj:
    """The names of all replicas there may be, at the address that their pods share."""
    elastic = job.elastic_policy
    workers = max(job.count("Worker"), (elastic.max_replicas or 0) if elastic else 0)
    replicas = [r for r in job.replicas() if r.type != "Worker"]
    replicas += [Replica("Worker", index) for index in range(workers)]
    return alias(map(job.pod_name, replicas), job.namespace)


def _met(job: TrainingJob, replica: Replica, port: Obj) -> Obj:
    """A declared port, by the number under which the replica is met."""
    if port.get("name") != job.kind.port_name:
        return port
    return {**port, "containerPort": job.port(replica)}


def labels(job: TrainingJob, replica: Replica) -> dict[str, str]:
    """The labels of a replica's pod and Service."""
    found = {**job.labels(replica.type), REPLICA_INDEX: str(replica.index)}
    if replica == job.leader:
        found[JOB_ROLE] = "master"
    if job.kind.name == "MPIJob":
        # The MPI operator's own label, by which Katib's example tells the pod that counts.
        found["mpi-job-role"] = replica.type.lower()
    return found


def _add_environment(job: TrainingJob, content: Obj, variables: Env) -> None:
    """Gives the containers the variables they do not set themselves."""
    for container in _told(job, content.get("containers") or []):
        own = container.get("env") or []
        taken = {entry.get("name") for entry in own}
        # First, so that the container's own entries may refer to them as $(NAME).
        container["env"] = [*(v for v in variables if v["name"] not in taken), *own]


def _told(job: TrainingJob, containers: list[Obj]) -> list[Obj]:
    match job.kind.environment_of:
        case "first":
            return containers[:1]
        case "default":
            return [c for c in containers if c.get("name") == job.kind.container]
        case "every":
            return containers
