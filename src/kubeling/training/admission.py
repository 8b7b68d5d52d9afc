"""What is filled into training jobs when they are written, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.training.job import JobKind, spelling_of
from kubeling.training.kinds import KINDS

__all__ = ["MANAGED_BY", "admission_of", "admissions"]

MANAGED_BY: Final = "kubeflow.org/training-operator"
_MANAGERS: Final = (MANAGED_BY, "kueue.x-k8s.io/multikueue")
_RESTART_POLICIES: Final = ("Always", "ExitCode", "Never", "OnFailure")
_DNS_LABEL: Final = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")


def admissions() -> dict[Resource, Admission]:
    """The admission of every kubeflow.org/v1 kind."""
    return {kind.resource: admission_of(kind) for kind in KINDS}


def admission_of(kind: JobKind) -> Admission:
    """Defaults and rules of one kind of training job."""

    def default(obj: Obj, _: AdmissionRequest) -> None:
        set_defaults(kind, obj)

    def validate(obj: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
        return list(violations(kind, obj, old))

    return Admission(default, validate, _deprecations)


def _deprecations(obj: Obj, _: AdmissionRequest) -> Iterator[str]:
    elastic = (obj.get("spec") or {}).get("elasticPolicy") or {}
    if elastic.get("nProcPerNode") is not None:
        yield "spec.elasticPolicy.nProcPerNode is deprecated, use spec.nprocPerNode instead"


def set_defaults(kind: JobKind, obj: Obj) -> None:
    """Fills in what upstream's webhooks do, and the container's name where it is left out."""
    spec = obj.get("spec")
    replicas = spec.get(kind.specs_field) if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(replicas, dict):
        return
    spec[kind.specs_field] = {
        spelling_of(role, kind.replica_types): replica for role, replica in replicas.items()
    }
    policy = spec.setdefault("runPolicy", {})
    if isinstance(policy, dict) and policy.get("cleanPodPolicy") is None:
        # An MPIJob may state it outside of its run policy too.
        policy["cleanPodPolicy"] = spec.get("cleanPodPolicy") or "None"
    if kind.name == "PyTorchJob":
        _default_pytorch(spec)
    for replica in spec[kind.specs_field].values():
        if isinstance(replica, dict):
            _default_replica(kind, replica)


def _default_pytorch(spec: Obj) -> None:
    """The number of processes, and the bounds of an elastic job (``setElasticPolicy``)."""
    elastic = spec.get("elasticPolicy")
    elastic = elastic if isinstance(elastic, dict) else {}
    if not spec.get("nprocPerNode") and elastic.get("nProcPerNode") is None:
        spec["nprocPerNode"] = "auto"
    if not elastic:
        return
    worker = spec["pytorchReplicaSpecs"].get("Worker")
    workers = worker.get("replicas") if isinstance(worker, dict) else None
    lowest, highest = elastic.get("minReplicas"), elastic.get("maxReplicas")
    if lowest is None:
        elastic["minReplicas"] = highest or workers or 1
    if highest is None:
        elastic["maxReplicas"] = lowest or workers or 1


def _default_replica(kind: JobKind, replica: Obj) -> None:
    if replica.get("replicas") is None:
        replica["replicas"] = 1
    if not replica.get("restartPolicy"):
        replica["restartPolicy"] = kind.restart_policy
    containers = _containers(replica)
    if not any(c.get("name") == kind.container for c in containers):
        unnamed = next((c for c in containers if not c.get("name")), None)
        if unnamed is not None:
            unnamed["name"] = kind.container
    for container in containers:
        if container.get("name") == kind.container and not kind.any_container:
            ports = container.setdefault("ports", [])
            if not any(port.get("name") == kind.port_name for port in ports):
                ports.append({"name": kind.port_name, "containerPort": kind.port})


def violations(kind: JobKind, obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Everything wrong with a job."""
    name = obj.get("metadata", {}).get("name", "")
    if name and not _DNS_LABEL.match(name):
        yield FieldError(
            "metadata.name",
            "Invalid value",
            "must be a DNS-1035 label (lowercase letters, digits and '-', beginning with a "
            "letter), because pods and Services are named after it",
            name,
        )
    spec = obj.get("spec") or {}
    yield from _run_policy(spec, (old or {}).get("spec"))
    path = f"spec.{kind.specs_field}"
    replicas = spec.get(kind.specs_field)
    if not isinstance(replicas, dict) or not replicas:
        example = kind.required[0] if kind.required else "Worker"
        yield FieldError(path, "Required value", f"name at least one role, such as {example}")
        return
    yield from _kind_rules(kind, spec)
    yield from _roles(kind, path, replicas)
    for role, replica in replicas.items():
        if isinstance(replica, dict):
            yield from _replica(kind, f"{path}[{role}]", role, replica)


def _roles(kind: JobKind, path: str, replicas: Mapping[str, Any]) -> Iterator[FieldError]:
    for role in replicas:
        if role not in kind.replica_types:
            supported = ", ".join(f'"{known}"' for known in kind.replica_types)
            message = f"supported values: {supported}"
            yield FieldError(f"{path}[{role}]", "Unsupported value", message, role)
    for role in kind.required:
        if role not in replicas:
            message = f"a {kind.name} needs a {role}; add it"
            yield FieldError(f"{path}[{role}]", "Required value", message)
    present = [role for role in kind.singletons if role in replicas]
    if kind.name == "TFJob" and len(present) > 1:
        message = "more than one chief or master; keep one of them"
        yield FieldError(f"{path}[{present[1]}]", "Forbidden", message)


def _replica(kind: JobKind, path: str, role: str, replica: Obj) -> Iterator[FieldError]:
    count = replica.get("replicas")
    if role in kind.singletons and count != 1:
        yield FieldError(f"{path}.replicas", "Invalid value", f"must be 1 for {role}", count)
    policy = replica.get("restartPolicy")
    if policy not in _RESTART_POLICIES:
        message = "supported values: " + ", ".join(f'"{p}"' for p in _RESTART_POLICIES)
        yield FieldError(f"{path}.restartPolicy", "Unsupported value", message, policy)
    base = f"{path}.template.spec.containers"
    containers = _containers(replica)
    if not containers:
        yield FieldError(base, "Required value", "add the container that trains")
        return
    for index, container in enumerate(containers):
        if not container.get("image"):
            yield FieldError(f"{base}[{index}].image", "Required value", "name the image to run")
    named = kind.any_container or any(c.get("name") == kind.container for c in containers)
    if not named:
        message = f'name the container that trains "{kind.container}"'
        yield FieldError(f"{base}[0].name", "Required value", message)


def _run_policy(spec: Obj, old: Obj | None) -> Iterator[FieldError]:
    path = "spec.runPolicy.managedBy"
    policy, before = spec.get("runPolicy") or {}, (old or {}).get("runPolicy") or {}
    wanted = policy.get("managedBy")
    if wanted is not None and wanted not in _MANAGERS:
        message = "supported values: " + ", ".join(f'"{m}"' for m in _MANAGERS)
        yield FieldError(path, "Unsupported value", message, wanted)
    if old is None:
        return
    if before.get("managedBy") != wanted:
        yield FieldError(path, "Forbidden", "the field is immutable")
    if _queue(before) != _queue(policy):
        path = "spec.runPolicy.schedulingPolicy.queue"
        yield FieldError(path, "Forbidden", "the field is immutable")


def _queue(policy: Obj) -> Any:
    return (policy.get("schedulingPolicy") or {}).get("queue")


def _kind_rules(kind: JobKind, spec: Obj) -> Iterator[FieldError]:
    """What holds for one kind only."""
    if kind.name == "MPIJob":
        whole, inner = spec.get("cleanPodPolicy"), spec["runPolicy"].get("cleanPodPolicy")
        if whole is not None and whole != inner:
            message = f"contradicts spec.runPolicy.cleanPodPolicy ({inner}); leave it out"
            yield FieldError("spec.cleanPodPolicy", "Invalid value", message, whole)
    elastic = spec.get("elasticPolicy")
    if not isinstance(elastic, dict):
        return
    path, replicas = "spec.elasticPolicy", spec.get(kind.specs_field) or {}
    if "Worker" not in replicas:
        field = f"spec.{kind.specs_field}[Worker]"
        yield FieldError(field, "Required value", "must be configured if elastic policy is used")
    if elastic.get("nProcPerNode") is not None and spec.get("nprocPerNode"):
        message = "must not be used with spec.nprocPerNode"
        yield FieldError(f"{path}.nProcPerNode", "Forbidden", message)
    lowest, highest = elastic.get("minReplicas"), elastic.get("maxReplicas")
    if lowest is not None and highest is not None and lowest > highest:
        message = f"must not be more than maxReplicas ({highest})"
        yield FieldError(f"{path}.minReplicas", "Invalid value", message, lowest)


def _containers(replica: Obj) -> Sequence[Obj]:
    template = replica.get("template")
    spec = template.get("spec") if isinstance(template, dict) else None
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if not isinstance(containers, list):
        return ()
    return [container for container in containers if isinstance(container, dict)]
