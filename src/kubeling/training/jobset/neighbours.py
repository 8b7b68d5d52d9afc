"""The names of a JobSet's pods where no name server tells them.

MPI's nodes are left out: names that lead to the machine itself would let ``mpirun`` start every
process where it runs, instead of in the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubeling.kube.objects import Obj, name, namespace
from kubeling.training.jobset.objects import groups, replicas, subdomain
from kubeling.training.network import REMOTE, alias

__all__ = ["acquaint"]


def acquaint(jobset: Obj, job: Obj) -> None:
    """Lets the pods of a Job know those of the whole JobSet by name."""
    hosts = list(_hosts(jobset))
    if hosts and REMOTE not in (jobset["metadata"].get("annotations") or {}):
        pod = job["spec"]["template"]["spec"]
        pod["hostAliases"] = [*(pod.get("hostAliases") or ()), alias(hosts, namespace(jobset))]


def _hosts(jobset: Obj) -> Iterator[str]:
    domain = subdomain(jobset)
    if not domain:
        return
    for group in groups(jobset):
        spec = group["template"].get("spec") or {}
        pods = int(spec.get("completions") or spec.get("parallelism") or 1)
        for index in range(replicas(group)):
            job = f"{name(jobset)}-{group['name']}-{index}"
            yield from (f"{job}-{pod}.{domain}" for pod in range(pods))
