"""From a TrainJob and its runtime to the objects that run it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from kubeling.kube.objects import Obj, name, namespace, new_object, uid
from kubeling.kube.resources import CONFIG_MAPS, Resource
from kubeling.training.jobset.resources import JOB_SETS
from kubeling.training.network import first_port
from kubeling.training.trainer import functions, gang, mpi, progress, torchtune
from kubeling.training.trainer.environment import (
    PORT,
    Nodes,
    environment,
    framework_of,
    reserved_names,
)
from kubeling.training.trainer.template import (
    NODE,
    containers,
    group,
    merged,
    trainer_group,
)

__all__ = ["Rendered", "nodes_of", "render"]

_PORTED: Final = frozenset({"torch", "jax", "xgboost"})


@dataclass(frozen=True, slots=True)
class Rendered:
    """The JobSet, and what its pods need beside it; ``keys`` says whether that is keys for SSH."""

    jobset: Obj
    companions: list[tuple[Resource, Obj]] = field(default_factory=list)
    keys: bool = False


def render(
    train_job: Obj, runtime_spec: Obj, progress_url: str, *, shared_network: bool = False
) -> Rendered:
    """The objects of a TrainJob, whose nodes may share a network with those of others."""
    policy: Obj = runtime_spec.get("mlPolicy") or {}
    pod_groups: Obj = runtime_spec.get("podGroupPolicy") or {}
    template = merged(train_job, runtime_spec)
    _spread(train_job, policy, template)
    if framework_of(policy) == "mpi":
        mpi.prepare(train_job, policy["mpi"], template)
    else:
        port = first_port(uid(train_job)) if shared_network else PORT
        _introduce(train_job, policy, template, _own_command(runtime_spec), port)
    gang.mark(train_job, pod_groups, template)
    if (trainer := trainer_group(template)) is not None:
        progress.inject(train_job, trainer, progress_url)
        functions.seclude(trainer)
    jobset = _jobset(train_job, template)
    companions: list[tuple[Resource, Obj]] = []
    if framework_of(policy) == "mpi":
        companions.append((CONFIG_MAPS, mpi.hostfile(train_job, policy["mpi"], template)))
    if (together := gang.pod_group(train_job, pod_groups, jobset)) is not None:
        companions.append(together)
    return Rendered(jobset, companions, keys=framework_of(policy) == "mpi")


def nodes_of(train_job: Obj, policy: Obj, template: Obj) -> Nodes:
    """The training nodes, as the template has them."""
    own = name(train_job)
    trainer = train_job["spec"].get("trainer") or {}
    found = trainer_group(template)
    network = (template.get("spec") or {}).get("network") or {}
    container: Obj = next(iter(containers(found, NODE)), {}) if found else {}
    count = trainer.get("numNodes") or policy.get("numNodes")
    if count is None:
        count = 1 if policy or not found else found["template"]["spec"].get("parallelism", 1)
    return Nodes(
        host=f"{own}-{found['name'] if found else NODE}-0-0.{network.get('subdomain') or own}",
        count=int(count),
        processes=trainer.get("numProcPerNode"),
        resources=container.get("resources") or {},
    )


def _spread(train_job: Obj, policy: Obj, template: Obj) -> None:
    """Every Job has as many pods as completions: the training nodes as many as are wanted."""
    for found in (template.get("spec") or {}).get("replicatedJobs") or ():
        job = found["template"].setdefault("spec", {})
        job["completions"] = job["parallelism"] = int(job.get("parallelism") or 1)
    if framework_of(policy) == "mpi":
        trainer = train_job["spec"].get("trainer") or {}
        mpi.spread(policy["mpi"], template, trainer.get("numNodes") or policy.get("numNodes"))
    elif (trainer_job := trainer_group(template)) is not None:
        job = trainer_job["template"]["spec"]
        job["completions"] = job["parallelism"] = nodes_of(train_job, policy, template).count


def _introduce(train_job: Obj, policy: Obj, template: Obj, command: list[str], port: int) -> None:
    """Tells the nodes of one another, whether or not the TrainJob says anything of its trainer."""
    nodes = replace(nodes_of(train_job, policy, template), port=port)
    variables = environment(policy, nodes)
    trainer = trainer_group(template)
    for container in containers(trainer, NODE) if trainer else ():
        spec = train_job["spec"].get("trainer") or {}
        told = variables
        if spec.get("command") == torchtune.ENTRYPOINT and framework_of(policy) == "torch":
            runtime = train_job["spec"]["runtimeRef"]["name"]
            args = spec.get("args") or []
            container["command"] = torchtune.command(runtime, args, nodes, command)
            told = [v for v in variables if not v["name"].startswith("PET_MASTER")]
        _tell(container, policy, told)
        if framework_of(policy) in _PORTED:
            ports = container.setdefault("ports", [])
            if not any(declared.get("containerPort") == port for declared in ports):
                ports.append({"containerPort": port})
    injection = (policy.get("torch") or {}).get("envInjection") or {}
    for target in injection.get("targets") or ():
        found = group(template, target["jobName"])
        for container in _all_containers(found) if found else ():
            if container["name"] in target["containerNames"]:
                _tell(container, policy, variables)


def _own_command(runtime_spec: Obj) -> list[str]:
    """What the runtime's training container runs unless a TrainJob says otherwise."""
    found = trainer_group(runtime_spec.get("template") or {})
    container: Obj = next(iter(containers(found, NODE)), {}) if found else {}
    return container.get("command") or []


def _tell(container: Obj, policy: Obj, variables: list[Obj]) -> None:
    """Our variables come first, so that the container's own may refer to them as $(NAME)."""
    ours = {*reserved_names(framework_of(policy)), *(v["name"] for v in variables)}
    own = [entry for entry in container.get("env") or [] if entry.get("name") not in ours]
    if variables or own:
        container["env"] = [*variables, *own]


def _all_containers(found: Obj) -> list[Obj]:
    pod = found["template"]["spec"]["template"]["spec"]
    return [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]


def _jobset(train_job: Obj, template: Obj) -> Obj:
    metadata = template.get("metadata") or {}
    spec = {**(template.get("spec") or {}), "suspend": bool(train_job["spec"].get("suspend"))}
    return new_object(
        JOB_SETS,
        name(train_job),
        namespace(train_job),
        labels=metadata.get("labels"),
        annotations=metadata.get("annotations"),
        owner=train_job,
        spec=spec,
    )
