"""Nodes whose pods share one network, and what a job does there.

Without root, and on macOS, all pods are at the machine's own address, and no name server can
listen on its port. Two jobs must then not meet at one port, and names are in the pods' hosts files.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from kubeling.kube.objects import Obj, labels

__all__ = ["REMOTE", "alias", "first_port", "is_shared"]

REMOTE: Final = "trainer.kubeling.io/mpi-agent"
"""On JobSets whose launcher starts processes in the other pods, and needs an account for that."""

_LABEL: Final = "kubeling.io/pod-network"
_ADDRESS: Final = "127.0.0.1"


def is_shared(nodes: Iterable[Obj]) -> bool:
    """Whether pods of these nodes share the node's network."""
    return any(labels(node).get(_LABEL) == "shared" for node in nodes)


def first_port(uid: str) -> int:
    """Where the ports of a job begin: unlike those of other jobs, below those given to clients."""
    return 10_000 + zlib.crc32(uid.encode()) % 20_000


def alias(hosts: Iterable[str], namespace: str) -> Obj:
    """An entry of ``hostAliases``: the names that a cluster's name server would know hosts by."""
    domains = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    names = [f"{host}{domain}" for host in hosts for domain in domains]
    return {"ip": _ADDRESS, "hostnames": names}
