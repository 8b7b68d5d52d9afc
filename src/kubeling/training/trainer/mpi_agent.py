"""Nodes that run no sshd: ``mpirun`` starts its daemons in their pods through the API.

The launcher gets two small programs (:mod:`.podof`, :mod:`kubeling.training.podexec`) beside its
hostfile, and an account that may start commands in the job's own nodes and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from kubeling.kube.objects import Obj, labels, name, namespace
from kubeling.kube.resources import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS
from kubeling.training.companions import Companion
from kubeling.training.job import Env, env
from kubeling.training.jobset.objects import JOBSET_NAME, REPLICATED_JOB
from kubeling.training.trainer.template import LAUNCHER, NODE, containers, group, pod_spec

__all__ = ["account", "companions", "is_needed", "modes", "programs", "variables"]

_SCRIPT, _DATA = 0o555, 0o444
_KUBEXEC: Final = """\
#!/bin/sh
# Starts a command in a node's pod: what mpirun takes for ssh.
for python in python3 python; do
    command -v "$python" >/dev/null && break
done
host=$1
shift
# Its own name, which mpirun takes for another's as long as no name server knows it.
[ "${{host%%.*}}" = "$(uname -n)" ] && exec /bin/sh -c "$*"
pod=$("$python" {folder}/podof.py "$host") || exit 1
exec "$python" {folder}/podexec.py "$pod" "$@"
"""


def is_needed(template: Obj) -> bool:
    """Whether the nodes run no sshd."""
    found = group(template, NODE)
    node: Obj = next(iter(containers(found, NODE)), {}) if found else {}
    words = [*(node.get("command") or ()), *(node.get("args") or ())]
    return not any("sshd" in word for word in words)


def programs(folder: str) -> dict[str, str]:
    """The files that the launcher needs beside its hostfile."""
    package = "kubeling.training"
    return {
        "kubexec.sh": _KUBEXEC.format(folder=folder),
        "podexec.py": files(package).joinpath("podexec.py").read_text(),
        "podof.py": files(f"{package}.trainer").joinpath("podof.py").read_text(),
    }


def modes() -> dict[str, int]:
    """Those files, with the modes they have in the pod."""
    return {"kubexec.sh": _SCRIPT, "podexec.py": _DATA, "podof.py": _DATA}


def variables(train_job: Obj, folder: str) -> Env:
    """What tells Open MPI (4 and 5) of the agent, and the agent of the job."""
    agent = f"{folder}/kubexec.sh"
    return env(
        OMPI_MCA_plm_rsh_agent=agent,
        PRTE_MCA_plm_ssh_agent=agent,
        # The launcher starts every daemon itself, for the nodes have no agent; told by
        # plm_rsh_no_tree_spawn, daemons would leave the session in which they are started.
        OMPI_MCA_routed_radix=4096,
        OMPI_ALLOW_RUN_AS_ROOT=1,  # In a pod that is nothing out of the ordinary.
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1,
        KUBELING_MPI_CONTAINER=NODE,
        KUBELING_MPI_SELECTOR=f"{JOBSET_NAME}={name(train_job)},{REPLICATED_JOB}={NODE}",
    )


def account(train_job: Obj) -> str:
    """The launcher's account, unless the runtime names one."""
    return f"{name(train_job)}-{LAUNCHER}"


def companions(train_job: Obj, jobset: Obj, pods: Sequence[Obj]) -> list[Companion]:
    """The account and what it may do: start commands in the nodes there are now."""
    own, where = account(train_job), namespace(train_job)
    launcher = group(jobset, LAUNCHER)
    named = (pod_spec(launcher) if launcher else {}).get("serviceAccountName") or own
    nodes = sorted(name(pod) for pod in pods if labels(pod).get(REPLICATED_JOB) == NODE)
    rules = [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]
    if nodes:  # Without names the rule would be about all pods.
        rules.append(
            {
                "verbs": ["create", "get"],  # Over a websocket an exec is a GET.
                "apiGroups": [""],
                "resources": ["pods/exec"],
                "resourceNames": nodes,
            }
        )
    subject = {"kind": "ServiceAccount", "name": named, "namespace": where}
    role = {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": own}
    return [
        Companion(SERVICE_ACCOUNTS, named, {}, shared=True),
        Companion(ROLES, own, {"rules": rules}),
        Companion(ROLE_BINDINGS, own, {"subjects": [subject], "roleRef": role}),
    ]
