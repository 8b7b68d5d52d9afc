"""What a TrainJob's nodes are told about one another, by the runtime's machine-learning policy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity
from kubeling.training.job import Env, env

__all__ = ["PORT", "Nodes", "accelerators", "environment", "framework_of", "reserved_names"]

PORT: Final = 29500
"""Where the nodes meet, where each has a network of its own."""

_FRAMEWORKS: Final = ("torch", "jax", "xgboost", "mpi", "flux")
_INDEX_FIELD: Final = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_ACCELERATOR: Final = re.compile(r"/(gpu|tpu|mig-.+|.*npu|.*ascend.*)$", re.IGNORECASE)
_RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "torch": (
        "PET_NNODES",
        "PET_NPROC_PER_NODE",
        "PET_NODE_RANK",
        "PET_MASTER_ADDR",
        "PET_MASTER_PORT",
    ),
    "jax": ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"),
    "xgboost": ("DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER"),
    "mpi": (
        "OMPI_MCA_orte_default_hostfile",
        "OMPI_MCA_plm_rsh_args",
        "OMPI_MCA_orte_keep_fqdn_hostnames",
        "OMPI_MCA_orte_set_default_slots",
    ),
}


@dataclass(frozen=True, slots=True)
class Nodes:
    """The training nodes of a job; ``host`` is where node 0 is found.

    ``processes`` is how many the user wants on each, if anything was said.
    """

    host: str
    count: int
    processes: int | None = None
    port: int = PORT
    resources: Obj = field(default_factory=dict)


def framework_of(ml_policy: Obj) -> str:
    """The framework of a policy, empty for plain containers."""
    return next((name for name in _FRAMEWORKS if ml_policy.get(name) is not None), "")


def reserved_names(framework: str) -> tuple[str, ...]:
    """The variables the policy sets itself."""
    return _RESERVED.get(framework, ())


def environment(ml_policy: Obj, nodes: Nodes) -> Env:
    """The variables of a node (MPI's nodes are told by files, see :mod:`.mpi`)."""
    match framework_of(ml_policy):
        case "torch":
            return _torch(ml_policy["torch"], nodes)
        case "jax":
            return [
                *env(JAX_NUM_PROCESSES=nodes.count),
                _index("JAX_PROCESS_ID"),
                *env(JAX_COORDINATOR_ADDRESS=f"{nodes.host}:{nodes.port}"),
            ]
        case "xgboost":
            workers = nodes.count * max(1, accelerators(nodes.resources))
            return [
                *env(DMLC_TRACKER_URI=nodes.host, DMLC_TRACKER_PORT=nodes.port),
                _index("DMLC_TASK_ID"),
                *env(DMLC_NUM_WORKER=workers),
            ]
        case _:
            return []


def _torch(policy: Obj, nodes: Nodes) -> Env:
    processes = nodes.processes or _processes(nodes.resources)
    elastic = policy.get("elasticPolicy")
    if elastic is None:
        return [
            *env(PET_NNODES=nodes.count, PET_NPROC_PER_NODE=processes),
            _index("PET_NODE_RANK"),
            *env(PET_MASTER_ADDR=nodes.host, PET_MASTER_PORT=nodes.port),
        ]
    least = min(int(elastic.get("minNodes") or 1), nodes.count)
    return env(
        PET_NNODES=f"{least}:{nodes.count}",
        PET_NPROC_PER_NODE=processes,
        PET_RDZV_BACKEND="c10d",
        PET_RDZV_ENDPOINT=f"{nodes.host}:{nodes.port}",
        PET_MAX_RESTARTS=int(elastic.get("maxRestarts") or 0),
    )


def _index(variable: str) -> Obj:
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": _INDEX_FIELD}}}


def _processes(resources: Obj) -> int | str:
    """One per accelerator, which torchrun counts itself; else one per CPU asked for, at least 1."""
    return "auto" if accelerators(resources) else max(1, _cpus(resources))


def accelerators(resources: Obj) -> int:
    """How many GPUs, TPUs and the like are asked for."""
    asked: dict[str, Any] = {
        **(resources.get("requests") or {}),
        **(resources.get("limits") or {}),
    }
    return sum(int(parse_quantity(v)) for key, v in asked.items() if _ACCELERATOR.search(key))


def _cpus(resources: Obj) -> int:
    for kind in ("requests", "limits"):
        asked = (resources.get(kind) or {}).get("cpu")
        if asked is not None:
            return math.ceil(parse_quantity(asked))
    return 0
