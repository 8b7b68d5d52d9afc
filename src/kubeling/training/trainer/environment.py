"""What a TrainJob's nodes are told about one another, by the runtime's machine-learning policy."""

from __future__ import annotations

import re
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.training.job import Env, env

__all__ = ["PORT", "UnsupportedPolicyError", "environment", "policy_name", "reserved_names"]

PORT: Final = 29500
_INDEX_FIELD: Final = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_ACCELERATOR: Final = re.compile(r"/(gpu|tpu|mig-.+|.*npu|.*ascend.*)$", re.IGNORECASE)
_RESERVED: Final = {
    "torch": (
        "PET_NNODES",
        "PET_NPROC_PER_NODE",
        "PET_NODE_RANK",
        "PET_MASTER_ADDR",
        "PET_MASTER_PORT",
    ),
    "jax": ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"),
    "xgboost": ("DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER"),
}


class UnsupportedPolicyError(Exception):
    """The runtime asks for a framework this platform does not set up; the message says which."""


def policy_name(ml_policy: Obj) -> str:
    """The framework of a policy, empty for plain containers."""
    for framework in ("torch", "jax", "xgboost"):
        if ml_policy.get(framework) is not None:
            return framework
    for framework in ("mpi", "flux"):
        if ml_policy.get(framework) is not None:
            supported = "torch, jax, xgboost or none"
            raise UnsupportedPolicyError(
                f"mlPolicy.{framework} is not supported; use a runtime with {supported}"
            )
    return ""


def reserved_names(framework: str) -> tuple[str, ...]:
    """The variables the policy sets itself."""
    return _RESERVED.get(framework, ())


def environment(
    ml_policy: Obj, host: str, nodes: int, processes: int | None, resources: Obj
) -> Env:
    """The variables of a node; ``host`` is where node 0 is found."""
    match policy_name(ml_policy):
        case "torch":
            wanted = processes or (ml_policy["torch"] or {}).get("numProcPerNode") or "auto"
            return [
                *env(PET_NNODES=nodes, PET_NPROC_PER_NODE=_processes(wanted, resources)),
                _index("PET_NODE_RANK"),
                *env(PET_MASTER_ADDR=host, PET_MASTER_PORT=PORT),
            ]
        case "jax":
            return [
                *env(JAX_NUM_PROCESSES=nodes),
                _index("JAX_PROCESS_ID"),
                *env(JAX_COORDINATOR_ADDRESS=f"{host}:{PORT}"),
            ]
        case "xgboost":
            workers = nodes * max(1, _accelerators(resources))
            return [
                *env(DMLC_TRACKER_URI=host, DMLC_TRACKER_PORT=PORT),
                _index("DMLC_TASK_ID"),
                *env(DMLC_NUM_WORKER=workers),
            ]
        case _:
            return []


def _index(variable: str) -> Obj:
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": _INDEX_FIELD}}}


def _processes(wanted: Any, resources: Obj) -> int:
    """``auto`` means one per accelerator, else one per CPU asked for, one at least."""
    text = str(wanted)
    if text.isdigit():
        return int(text)
    if text in ("auto", "gpu") and (accelerators := _accelerators(resources)):
        return accelerators
    return max(1, _cpus(resources))


def _quantities(resources: Obj) -> dict[str, Any]:
    return {**(resources.get("requests") or {}), **(resources.get("limits") or {})}


def _accelerators(resources: Obj) -> int:
    counts = [
        int(str(value)) for key, value in _quantities(resources).items() if _ACCELERATOR.search(key)
    ]
    return sum(counts)


def _cpus(resources: Obj) -> int:
    text = str(_quantities(resources).get("cpu", "0"))
    return int(text[:-1]) // 1000 if text.endswith("m") else int(float(text))
