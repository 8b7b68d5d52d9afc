"""Small training jobs, and pods in the states a node agent would report."""

from __future__ import annotations

import itertools
from typing import Any

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj
from kubeling.training.admission import admission_of
from kubeling.training.job import JobKind, Replica, TrainingJob
from kubeling.training.pods import pod

REPLICA = {"template": {"spec": {"containers": [{"image": "python:3.11", "command": ["true"]}]}}}


def manifest(kind: JobKind, replicas: dict[str, int], **spec: Any) -> Obj:
    """A manifest as a user writes it, without anything that is filled in for them."""
    roles = {role: {**_copy(REPLICA), "replicas": count} for role, count in replicas.items()}
    return {
        "apiVersion": kind.resource.api_version,
        "kind": kind.name,
        "metadata": {"name": "mnist", "namespace": "team"},
        "spec": {kind.specs_field: roles, **spec},
    }


def admitted(kind: JobKind, obj: Obj, old: Obj | None = None) -> list[str]:
    """Runs admission in place and returns what it complains about."""
    admission = admission_of(kind)
    request = AdmissionRequest(kind.resource, "UPDATE" if old else "CREATE")
    assert admission.default
    assert admission.validate
    admission.default(obj, request)
    return [str(error) for error in admission.validate(obj, old, request)]


_NUMBERS = itertools.count()


def job(kind: JobKind, replicas: dict[str, int], **spec: Any) -> TrainingJob:
    """A job as stored."""
    obj = manifest(kind, replicas, **spec)
    assert admitted(kind, obj) == []
    obj["metadata"] |= {"uid": "job-uid", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return TrainingJob(kind, obj)


def with_status(of: TrainingJob, status: Obj) -> TrainingJob:
    """The job after its status was written."""
    return TrainingJob(of.kind, {**of.obj, "status": status})


def running(of: TrainingJob, role: str, index: int = 0) -> Obj:
    return in_phase(of, role, index, "Running")


def in_phase(
    of: TrainingJob, role: str, index: int, phase: str, exit_code: int | None = None
) -> Obj:
    """The pod of a replica in a phase."""
    made = pod(of, Replica(role, index))
    made["metadata"] |= {
        "uid": f"{role}-{index}-{next(_NUMBERS)}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    made["status"] = {"phase": phase}
    if exit_code is not None:
        ended = {"terminated": {"exitCode": exit_code}}
        made["status"]["containerStatuses"] = [{"name": of.kind.container, "state": ended}]
    return made


def environment(of: TrainingJob, role: str, index: int = 0) -> dict[str, str]:
    """The variables the training container of a replica gets."""
    container = pod(of, Replica(role, index))["spec"]["containers"][0]
    return {entry["name"]: entry.get("value", "") for entry in container.get("env") or ()}


def _copy(value: Obj) -> Obj:
    return {"template": {"spec": {"containers": [dict(c) for c in _containers(value)]}}}


def _containers(value: Obj) -> list[Obj]:
    found: list[Obj] = value["template"]["spec"]["containers"]
    return found
