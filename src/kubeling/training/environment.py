"""What each framework's processes are told about one another.

One function per kind, from the job and a replica to environment variables. Hosts are the names of
the replicas' headless Services, which resolve inside the pods.
"""

from __future__ import annotations

import json

from kubeling.training.job import Env, Replica, TrainingJob, env
from kubeling.training.resources import ElasticPolicy

__all__ = ["jax", "paddle", "pytorch", "tensorflow", "xgboost"]


def tensorflow(job: TrainingJob, replica: Replica) -> Env:
    """``TF_CONFIG``: the cluster and this process's task in it; nothing for a lone process."""
    if job.total <= 1:
        return []
    config = {
        "cluster": _tf_cluster(job, replica),
        "task": {"type": replica.type.lower(), "index": replica.index},
        "environment": "cloud",
    }
    return env(TF_CONFIG=json.dumps(config))


def _tf_cluster(job: TrainingJob, replica: Replica) -> dict[str, object]:
    def address(member: Replica) -> str:
        host = f"{job.pod_name(member)}.{job.namespace}.svc"
        return f"{host}:{job.port(member)}"

    if job.spec.get("enableDynamicWorker"):
        servers = [address(r) for r in job.replicas() if r.type == "PS"]
        if replica.type == "PS":
            return {"ps": servers}
        return {"worker": {str(replica.index): address(replica)}, "ps": servers}
    cluster: dict[str, list[str]] = {}
    for member in job.replicas():
        cluster.setdefault(member.type.lower(), []).append(address(member))
    return dict(cluster)


def pytorch(job: TrainingJob, replica: Replica) -> Env:
    """``torch.distributed``'s ``env://`` variables and torchrun's ``PET_*``."""
    processes = str(job.spec.get("nprocPerNode") or "auto")
    if elastic := job.elastic_policy:
        found = [*env(PYTHONUNBUFFERED=1), *_elastic(job, elastic, processes)]
        if job.count("Master") == 0:
            return found
        taken = {variable["name"] for variable in found}
        return [*found, *(v for v in _static(job, replica, processes) if v["name"] not in taken)]
    return [*env(PYTHONUNBUFFERED=1), *_static(job, replica, processes)]


def _static(job: TrainingJob, replica: Replica, processes: str) -> Env:
    """A fixed number of processes, each with its rank."""
    leader = job.leader or replica
    host, port = job.pod_name(leader), job.port(leader)
    per_node = int(processes) if processes.isdigit() else 1
    rank = _rank(job, replica)
    return env(
        MASTER_PORT=port,
        PET_MASTER_PORT=port,
        MASTER_ADDR=host,
        PET_MASTER_ADDR=host,
        WORLD_SIZE=job.total * per_node,
        RANK=rank,
        PET_NPROC_PER_NODE=processes,
        PET_NODE_RANK=rank,
        PET_NNODES=job.total,
    )


def _elastic(job: TrainingJob, policy: ElasticPolicy, processes: str) -> Env:
    workers = job.count("Worker")
    lowest = workers if policy.min_replicas is None else policy.min_replicas
    highest = workers if policy.max_replicas is None else policy.max_replicas
    host = policy.rdzv_host or job.pod_name(Replica("Worker", 0))
    port = policy.rdzv_port or job.port(Replica("Worker", 0))
    found = env(
        PET_RDZV_ENDPOINT=f"{host}:{port}",
        PET_RDZV_BACKEND=policy.rdzv_backend or "c10d",
        PET_NNODES=f"{lowest}:{highest}",
        PET_NPROC_PER_NODE=policy.n_proc_per_node or processes,
        # With a shared store, PyTorch 2.13 tells a worker that joins later no address to meet at.
        TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1,
    )
    if policy.rdzv_id is not None:
        found += env(PET_RDZV_ID=policy.rdzv_id)
    if policy.rdzv_conf:
        settings = ",".join(f"{c.get('key', '')}={c.get('value', '')}" for c in policy.rdzv_conf)
        found += env(PET_RDZV_CONF=settings)
    if policy.max_restarts is not None:
        found += env(PET_MAX_RESTARTS=policy.max_restarts)
    if policy.standalone:
        # Upstream's empty value makes torchrun fail: it reads a number.
        found += env(PET_STANDALONE=1)
    return found


def xgboost(job: TrainingJob, replica: Replica) -> Env:
    """Where the master is and who this process is; with several pods, where the workers are."""
    leader = job.leader or replica
    found = env(
        MASTER_PORT=job.port(leader),
        MASTER_ADDR=job.pod_name(leader),
        WORLD_SIZE=job.total,
        RANK=_rank(job, replica),
        PYTHONUNBUFFERED=1,
    )
    workers = [r for r in job.replicas() if r.type == "Worker"]
    if job.total > 1 and workers:
        addresses = ",".join(job.pod_name(worker) for worker in workers)
        found += env(WORKER_PORT=job.port(Replica("Worker", 0)), WORKER_ADDRS=addresses)
    return found


def paddle(job: TrainingJob, replica: Replica) -> Env:
    """Paddle's launcher variables: collective, or parameter servers where there is a master."""
    leader = job.leader or replica
    found = env(
        PYTHONUNBUFFERED=1,
        PADDLE_JOB_ID=job.name,
        PADDLE_NNODES=job.total,
    )
    port = job.port(leader)
    if replica == leader:
        # The first process listens on its own address, which only the running pod knows.
        own = {"name": "POD_IP_DUMMY", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        found += [own, *env(PADDLE_MASTER=f"$(POD_IP_DUMMY):{port}")]
    else:
        found += env(PADDLE_MASTER=f"{job.pod_name(leader)}:{port}")
    if job.count("Master") > 0:
        found += env(**{f"PADDLE_{'SERVER' if replica.type == 'Master' else 'TRAINER'}_NUM": 1})
    return found


def jax(job: TrainingJob, replica: Replica) -> Env:
    """What ``jax.distributed.initialize`` needs."""
    return env(
        PYTHONUNBUFFERED=1,
        COORDINATOR_PORT=job.port(Replica("Worker", 0)),
        COORDINATOR_ADDRESS=job.pod_name(Replica("Worker", 0)),
        NUM_PROCESSES=job.total,
        PROCESS_ID=replica.index,
    )


def _rank(job: TrainingJob, replica: Replica) -> int:
    """Masters come first, then the workers."""
    if replica.type == "Worker":
        return job.count("Master") + replica.index
    return replica.index
