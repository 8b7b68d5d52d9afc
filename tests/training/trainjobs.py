"""Small TrainJobs and runtimes for the tests."""

from __future__ import annotations

from typing import Any

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import Resource
from kubeling.training.trainer.admission import admissions
from kubeling.training.trainer.render import Rendered, render
from kubeling.training.trainer.resources import (
    CLUSTER_TRAINING_RUNTIMES,
    TRAIN_JOBS,
)
from kubeling.training.trainer.runtimes import builtin_runtimes

__all__ = [
    "RUNTIMES",
    "admitted",
    "container",
    "environment",
    "group",
    "jobset",
    "patch",
    "rendered",
    "runtime",
    "train_job",
    "warned",
]

RUNTIMES = {runtime["metadata"]["name"]: runtime for runtime in builtin_runtimes()}
URL = "http://platform"


def train_job(runtime: str = "torch-distributed", **spec: Any) -> Obj:
    """A TrainJob as a user writes it, with what admission fills in."""
    obj = {
        "apiVersion": TRAIN_JOBS.api_version,
        "kind": TRAIN_JOBS.kind,
        "metadata": {
            "name": "mnist",
            "namespace": "team",
            "uid": "job-uid",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"runtimeRef": {"name": runtime}, **spec},
    }
    default = admissions()[TRAIN_JOBS].default
    assert default
    default(obj, AdmissionRequest(TRAIN_JOBS, "CREATE"))
    return obj


def runtime(like: str = "torch-distributed", **spec: Any) -> Obj:
    """A built-in runtime with parts of its spec replaced."""
    found: Obj = deep_copy(RUNTIMES[like])
    found["spec"].update(spec)
    return found


def admitted(
    obj: Obj, old: Obj | None = None, *, kind: Resource = TRAIN_JOBS, **others: Obj
) -> list[str]:
    """What is found wrong; ``others`` are objects there are beside the built-in runtimes."""
    admission = admissions()[kind]
    request = _request(kind, old, others)
    assert admission.default
    assert admission.validate
    admission.default(obj, request)
    return [str(error) for error in admission.validate(obj, old, request)]


def warned(obj: Obj, *, kind: Resource = TRAIN_JOBS, **others: Obj) -> list[str]:
    """What the client is told besides."""
    warn = admissions()[kind].warn
    assert warn
    return list(warn(obj, _request(kind, None, others)))


def _request(kind: Resource, old: Obj | None, others: dict[str, Obj]) -> AdmissionRequest:
    def find(resource: Resource, name: str, namespace: str) -> Obj | None:
        for obj in others.values():
            if obj["kind"] == resource.kind and obj["metadata"]["name"] == name:
                return obj
        return RUNTIMES.get(name) if resource == CLUSTER_TRAINING_RUNTIMES else None

    return AdmissionRequest(kind, "UPDATE" if old else "CREATE", old=old, find=find)


def rendered(obj: Obj, on: Obj | None = None, *, shared_network: bool = False) -> Rendered:
    """The objects a TrainJob becomes on its runtime."""
    found = on or RUNTIMES[obj["spec"]["runtimeRef"]["name"]]
    return render(obj, found["spec"], URL, shared_network=shared_network)


def jobset(obj: Obj, on: Obj | None = None) -> Obj:
    """The JobSet a TrainJob becomes."""
    return rendered(obj, on).jobset


def group(jobset: Obj, name: str = "node") -> Obj:
    """A group of Jobs of a JobSet."""
    found: Obj = next(g for g in jobset["spec"]["replicatedJobs"] if g["name"] == name)
    return found


def container(jobset: Obj, of: str = "node") -> Obj:
    """The first container of a group's pods."""
    found: Obj = group(jobset, of)["template"]["spec"]["template"]["spec"]["containers"][0]
    return found


def environment(jobset: Obj, of: str = "node") -> dict[str, Any]:
    """That container's variables."""
    entries = container(jobset, of).get("env") or ()
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def patch(pod: Obj, manager: str = "example.com/me", job: str = "node") -> Obj:
    """A runtime patch of a group's pods."""
    replicated = {"name": job, "template": {"spec": {"template": pod}}}
    return {
        "manager": manager,
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}},
    }
