"""From a TrainJob and its runtime to the objects that run it.

Upstream goes through a JobSet; here the same batch/v1 Jobs, headless Service, names and labels
are made directly, so nothing but Kubernetes' own Job controller is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, name, namespace, new_object, uid
from kubeling.kube.resources import JOBS, SERVICES
from kubeling.training.trainer.environment import environment
from kubeling.training.trainer.merging import merge, upsert
from kubeling.training.trainer.runtimes import ANCESTOR_STEP, NODE

__all__ = ["JOBSET_NAME", "REPLICATED_JOB", "ReplicatedJob", "job_objects", "replicated_jobs",
           "service_object"]  # fmt: skip

_JOBSET: Final = "jobset.sigs.k8s.io"
JOBSET_NAME: Final = f"{_JOBSET}/jobset-name"
REPLICATED_JOB: Final = f"{_JOBSET}/replicatedjob-name"
_INITIALIZERS: Final = {"dataset-initializer": "dataset", "model-initializer": "model"}


@dataclass(frozen=True, slots=True)
class ReplicatedJob:
    """One group of equal Jobs, and the groups that must be complete before it starts."""

    name: str
    replicas: int
    spec: Obj
    labels: dict[str, str]
    annotations: dict[str, str]
    depends_on: tuple[str, ...] = ()


def replicated_jobs(train_job: Obj, runtime_spec: Obj) -> list[ReplicatedJob]:
    """The runtime's jobs with the patches and the TrainJob's own wishes merged in."""
    spec = train_job["spec"]
    template = deep_copy(runtime_spec.get("template") or {})
    for patch in spec.get("runtimePatches") or ():
        wanted = (patch.get("trainingRuntimeSpec") or {}).get("template") or {}
        template = merge(template, wanted)
    found = []
    for entry in (template.get("spec") or {}).get("replicatedJobs") or ():
        replicated = _replicated(entry)
        step = replicated.labels.get(ANCESTOR_STEP, "")
        if step == "trainer" or (not step and replicated.name == NODE):
            _train(train_job, runtime_spec.get("mlPolicy") or {}, replicated)
        elif step in _INITIALIZERS:
            _initialize(spec, step, replicated)
        found.append(replicated)
    return found


def service_object(train_job: Obj) -> Obj:
    """The headless Service under which the nodes find each other, before they are ready."""
    return new_object(
        SERVICES,
        name(train_job),
        namespace(train_job),
        labels={JOBSET_NAME: name(train_job)},
        owner=train_job,
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {JOBSET_NAME: name(train_job)},
        },
    )


def job_objects(train_job: Obj, jobs: list[ReplicatedJob]) -> list[tuple[ReplicatedJob, Obj]]:
    """The batch/v1 Jobs, in order."""
    total = sum(replicated.replicas for replicated in jobs)
    found: list[tuple[ReplicatedJob, Obj]] = []
    for replicated in jobs:
        for index in range(replicated.replicas):
            found.append((replicated, _job(train_job, replicated, index, len(found), total)))
    return found


def _job(train_job: Obj, replicated: ReplicatedJob, index: int, place: int, total: int) -> Obj:
    own = f"{name(train_job)}-{replicated.name}-{index}"
    labels = {
        JOBSET_NAME: name(train_job),
        f"{_JOBSET}/jobset-uid": uid(train_job),
        REPLICATED_JOB: replicated.name,
        f"{_JOBSET}/replicatedjob-replicas": str(replicated.replicas),
        f"{_JOBSET}/global-replicas": str(total),
        f"{_JOBSET}/job-index": str(index),
        f"{_JOBSET}/job-global-index": str(place),
        f"{_JOBSET}/job-key": hashlib.sha1(f"{namespace(train_job)}/{own}".encode()).hexdigest(),
        f"{_JOBSET}/restart-attempt": "0",
    }
    spec: Obj = deep_copy(replicated.spec)
    spec["completionMode"] = "Indexed"
    spec["suspend"] = bool(train_job["spec"].get("suspend"))
    template = spec.setdefault("template", {})
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    pod = template.setdefault("spec", {})
    pod.setdefault("restartPolicy", "Never")
    pod["subdomain"] = name(train_job)
    for container in pod.get("containers") or ():
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return new_object(
        JOBS,
        own,
        namespace(train_job),
        labels={**(train_job["metadata"].get("labels") or {}), **replicated.labels, **labels},
        annotations=replicated.annotations or None,
        owner=train_job,
        spec=spec,
    )


def _replicated(entry: Mapping[str, Any]) -> ReplicatedJob:
    template = entry.get("template") or {}
    metadata = template.get("metadata") or {}
    return ReplicatedJob(
        name=entry["name"],
        replicas=int(entry.get("replicas") or 1),
        spec=template.get("spec") or {},
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        depends_on=tuple(need["name"] for need in entry.get("dependsOn") or ()),
    )


def _train(train_job: Obj, ml_policy: Obj, replicated: ReplicatedJob) -> None:
    """Merges ``spec.trainer`` and the framework's environment into the training nodes."""
    trainer = train_job["spec"].get("trainer") or {}
    nodes = int(trainer.get("numNodes") or ml_policy.get("numNodes") or 1)
    replicated.spec["parallelism"] = replicated.spec["completions"] = nodes
    container = _container(replicated, NODE)
    for field in ("image", "command", "args"):
        if trainer.get(field):
            container[field] = trainer[field]
    if trainer.get("resourcesPerNode"):
        container["resources"] = merge(
            container.get("resources") or {}, trainer["resourcesPerNode"]
        )
    host = f"{name(train_job)}-{replicated.name}-0-0.{name(train_job)}"
    variables = environment(
        ml_policy,
        host,
        nodes,
        trainer.get("numProcPerNode"),
        container.get("resources") or {},
    )
    own = upsert(container.get("env") or [], trainer.get("env") or [], "name")
    container["env"] = [*variables, *own]


def _initialize(spec: Obj, step: str, replicated: ReplicatedJob) -> None:
    """Tells an initializer what to fetch."""
    wanted = (spec.get("initializer") or {}).get(_INITIALIZERS[step]) or {}
    container = _container(replicated, step)
    variables = container.get("env") or []
    if wanted.get("storageUri"):
        source = {"name": "STORAGE_URI", "value": wanted["storageUri"]}
        variables = upsert(variables, [source], "name")
    container["env"] = upsert(variables, wanted.get("env") or [], "name")
    if wanted.get("secretRef"):
        container.setdefault("envFrom", []).append({"secretRef": wanted["secretRef"]})


def _container(replicated: ReplicatedJob, wanted: str) -> Obj:
    """The container of that name, or the first one."""
    template = replicated.spec.setdefault("template", {})
    containers: list[Obj] = template.setdefault("spec", {}).setdefault("containers", [])
    if not containers:
        containers.append({"name": wanted})
    return next((c for c in containers if c.get("name") == wanted), containers[0])
