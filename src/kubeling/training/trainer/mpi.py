"""How ``mpirun`` on a TrainJob's launcher finds the nodes, and starts its daemons there.

The hostfile, the keys, their places and the variables are upstream's (its MPI plugin), so runtimes
whose nodes run sshd work unchanged. Nodes that run none are reached through the API instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.kube.objects import Obj, name, namespace, new_object
from kubeling.kube.resources import CONFIG_MAPS, SECRETS
from kubeling.training.job import env
from kubeling.training.network import REMOTE
from kubeling.training.trainer import mpi_agent
from kubeling.training.trainer.environment import accelerators
from kubeling.training.trainer.merging import replace_by_name, upsert
from kubeling.training.trainer.template import LAUNCHER, NODE, containers, equip, group, pod_spec

__all__ = ["hostfile", "key_name", "prepare", "secret", "spread"]

_HOSTS: Final = "/etc/mpi"
_HOSTFILE: Final = "hostfile"
_KEYS: Final = "mpi-ssh-auth"
_HOSTS_VOLUME: Final = "mpi-hostfile"


def spread(policy: Obj, template: Obj, nodes: int | None) -> None:
    """Divides the nodes: with ``runLauncherAsNode`` the launcher is one of them."""
    if (launcher := group(template, LAUNCHER)) is not None:
        _count(launcher, 1)
    if nodes is not None and (workers := group(template, NODE)) is not None:
        _count(workers, max(nodes - bool(policy.get("runLauncherAsNode")), 0))


def prepare(train_job: Obj, policy: Obj, template: Obj) -> None:
    """Gives launcher and nodes their files, and the launcher its variables and its account."""
    own, agent = name(train_job), mpi_agent.is_needed(template)
    if agent:
        metadata = template.setdefault("metadata", {})
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            REMOTE: "true",
        }
    for called in (LAUNCHER, NODE):
        found = group(template, called)
        if found is None:
            continue
        # Open MPI looks for the agent on the nodes too, though only the launcher uses it.
        files = _files(called, agent)
        volumes = [_key_volume(own)] + ([_host_volume(own, files)] if files else [])
        mounts = [{"name": _KEYS, "mountPath": policy.get("sshAuthMountPath") or "/root/.ssh"}]
        if files:
            mounts.append({"name": _HOSTS_VOLUME, "mountPath": _HOSTS})
        if called == NODE and policy.get("runLauncherAsNode"):
            equip(found, train_job["spec"].get("trainer") or {})
        pod = pod_spec(found)
        pod["volumes"] = upsert(pod.get("volumes") or [], volumes, "name")
        if agent and called == LAUNCHER:
            pod.setdefault("serviceAccountName", mpi_agent.account(train_job))
        for container in containers(found, NODE):
            before = container.get("volumeMounts") or []
            container["volumeMounts"] = upsert(before, mounts, "mountPath")
            if called == LAUNCHER:
                variables = _variables(_slots(train_job, policy, container))
                if agent:
                    variables += mpi_agent.variables(train_job, _HOSTS)
                else:
                    variables += env(OMPI_MCA_plm_rsh_args="-o ConnectionAttempts=10")
                container["env"] = replace_by_name(container.get("env") or [], variables)


def hostfile(train_job: Obj, policy: Obj, template: Obj) -> Obj:
    """The ConfigMap that names every host and how many processes it takes."""
    agent = mpi_agent.programs(_HOSTS) if mpi_agent.is_needed(template) else {}
    lines = [f"{host} slots={slots}\n" for host, slots in _hosts(train_job, policy, template)]
    return new_object(
        CONFIG_MAPS,
        f"{name(train_job)}-mpi-hostfile",
        namespace(train_job),
        owner=train_job,
        data={_HOSTFILE: "".join(lines), **agent},
    )


def key_name(train_job: Obj) -> str:
    """The Secret with the keys."""
    return f"{name(train_job)}-mpi-ssh-auth"


def secret(train_job: Obj) -> Obj:
    """A new pair of keys, by which the launcher may log in on the nodes."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP521R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return new_object(
        SECRETS,
        key_name(train_job),
        namespace(train_job),
        owner=train_job,
        type="kubernetes.io/ssh-auth",
        immutable=True,
        stringData={"ssh-privatekey": private.decode(), "ssh-publickey": public.decode() + "\n"},
    )


def _hosts(train_job: Obj, policy: Obj, template: Obj) -> Iterator[tuple[str, int]]:
    own = name(train_job)
    network = (template.get("spec") or {}).get("network") or {}
    domain = network.get("subdomain") or own
    for called in (LAUNCHER, NODE):
        found = group(template, called)
        if found is None or (called == LAUNCHER and not policy.get("runLauncherAsNode")):
            continue
        (container, *_) = [*containers(found, NODE), {}]
        pods = int(found["template"]["spec"].get("parallelism", 1))
        for index in range(pods):
            yield f"{own}-{called}-0-{index}.{domain}", _slots(train_job, policy, container)


def _slots(train_job: Obj, policy: Obj, container: Obj) -> int:
    """Processes on each node: what is said, but one by default means one for every GPU."""
    said = (train_job["spec"].get("trainer") or {}).get("numProcPerNode")
    if said:
        return int(said)
    slots = int(policy.get("numProcPerNode") or 1)
    return max(accelerators(container.get("resources") or {}), 1) if slots == 1 else slots


def _variables(slots: int) -> list[Obj]:
    """Open MPI 4 reads the first three, Open MPI 5 the last."""
    return env(
        OMPI_MCA_orte_default_hostfile=f"{_HOSTS}/{_HOSTFILE}",
        OMPI_MCA_orte_keep_fqdn_hostnames="true",
        OMPI_MCA_orte_set_default_slots=slots,
        PRTE_MCA_prte_default_hostfile=f"{_HOSTS}/{_HOSTFILE}",
    )


def _key_volume(own: str) -> Obj:
    items = [
        {"key": "ssh-privatekey", "path": "id_rsa", "mode": 0o640},
        {"key": "ssh-publickey", "path": "id_rsa.pub", "mode": 0o644},
        {"key": "ssh-publickey", "path": "authorized_keys", "mode": 0o644},
    ]
    source = {"secretName": f"{own}-mpi-ssh-auth", "defaultMode": 0o400, "items": items}
    return {"name": _KEYS, "secret": source}


def _files(called: str, agent: bool) -> dict[str, int]:
    """What of the ConfigMap a group of Jobs needs, with modes."""
    hosts = {_HOSTFILE: 0o444} if called == LAUNCHER else {}
    return {**hosts, **(mpi_agent.modes() if agent else {})}


def _host_volume(own: str, modes: dict[str, int]) -> Obj:
    items = [{"key": key, "path": key, "mode": mode} for key, mode in modes.items()]
    return {
        "name": _HOSTS_VOLUME,
        "configMap": {"name": f"{own}-mpi-hostfile", "items": items},
    }


def _count(found: Obj, pods: int) -> None:
    job = found["template"].setdefault("spec", {})
    job["parallelism"] = job["completions"] = pods
