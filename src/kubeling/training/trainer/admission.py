"""What is filled into TrainJobs and runtimes when they are written, and what is refused."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import Final

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, format_time, labels, namespace
from kubeling.kube.resources import Resource
from kubeling.training.jobset.resources import JOB_SETS
from kubeling.training.trainer.resources import (
    CLUSTER_TRAINING_RUNTIMES,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
)
from kubeling.training.trainer.rules import violations
from kubeling.training.trainer.runtime_admission import runtime_admission

__all__ = ["admissions", "runtime_of"]

_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_URI: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://.+$")
_MANAGER: Final = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[-A-Za-z0-9/_.%~]+$")
_KINDS: Final = {r.kind: r for r in (TRAINING_RUNTIMES, CLUSTER_TRAINING_RUNTIMES)}
_MANAGERS: Final = ("trainer.kubeflow.org/trainjob-controller", "kueue.x-k8s.io/multikueue")
_IMMUTABLE: Final = ("runtimeRef", "initializer", "trainer", "activeDeadlineSeconds", "managedBy")
_SUPPORT: Final = "trainer.kubeflow.org/support"
_POLICY: Final = (
    "https://trainer.kubeflow.org/en/latest/operator-guides/runtime.html#runtime-deprecation-policy"
)


def admissions() -> dict[Resource, Admission]:
    """The admission of TrainJobs and of runtimes."""
    return {
        TRAIN_JOBS: Admission(_default, _validate, _warn),
        TRAINING_RUNTIMES: runtime_admission(),
        CLUSTER_TRAINING_RUNTIMES: runtime_admission(),
    }


def runtime_of(train_job: Obj, request: AdmissionRequest) -> Obj | None:
    """The runtime a TrainJob names, if there is one and objects can be read."""
    reference = train_job["spec"].get("runtimeRef") or {}
    resource = _KINDS.get(reference.get("kind", ""))
    if resource is None or request.find is None or not reference.get("name"):
        return None
    where = namespace(train_job) if resource.namespaced else ""
    return request.find(resource, reference["name"], where)


def _default(obj: Obj, request: AdmissionRequest) -> None:
    spec = obj.get("spec")
    reference = spec.get("runtimeRef") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(reference, dict):
        return
    reference.setdefault("apiGroup", TRAIN_JOBS.group)
    reference.setdefault("kind", CLUSTER_TRAINING_RUNTIMES.kind)
    spec.setdefault("managedBy", _MANAGERS[0])
    spec.setdefault("suspend", False)
    _stamp(spec, ((request.old or {}).get("spec") or {}))


def _stamp(spec: Obj, before: Obj) -> None:
    """Writes into each patch when it was last changed."""
    known = {patch.get("manager"): patch for patch in before.get("runtimePatches") or ()}
    now = format_time(dt.datetime.now(dt.UTC))
    for patch in spec.get("runtimePatches") or ():
        if not isinstance(patch, dict):
            continue
        old = known.get(patch.get("manager"))
        if old is None:
            patch["time"] = patch.get("time") or now
        else:
            patch["time"] = old.get("time") if _content(old) == _content(patch) else now


def _content(patch: Obj) -> Obj:
    return {key: value for key, value in patch.items() if key != "time"}


def _validate(obj: Obj, old: Obj | None, request: AdmissionRequest) -> list[FieldError]:
    errors = [*_shape(obj), *(_changes(obj, old, request) if old is not None else ())]
    if errors or request.find is None or not _bears_on_runtime(obj, old):
        return errors
    runtime = runtime_of(obj, request)
    if runtime is None and old is None:
        reference = obj["spec"]["runtimeRef"]
        message = (
            f"{reference['kind']} not found: the runtime must be created before the TrainJob is"
        )
        return [FieldError("spec.runtimeRef.name", "Invalid value", message, reference["name"])]
    return [] if runtime is None else list(violations(obj, runtime.get("spec") or {}))


def _bears_on_runtime(obj: Obj, old: Obj | None) -> bool:
    """Whether what was written has to fit the runtime as it is now."""
    field = "runtimePatches"
    return old is None or (old.get("spec") or {}).get(field) != obj["spec"].get(field)


def _warn(obj: Obj, request: AdmissionRequest) -> Iterable[str]:
    runtime = runtime_of(obj, request) if request.operation == "CREATE" else None
    if runtime is not None and labels(runtime).get(_SUPPORT) == "deprecated":
        reference = obj["spec"]["runtimeRef"]
        yield (
            f'Referenced {reference["kind"]} "{reference["name"]}" is deprecated and will be '
            f"removed in a future release of Kubeflow Trainer. See runtime deprecation policy: "
            f"{_POLICY}"
        )


def _shape(obj: Obj) -> Iterator[FieldError]:
    """What must hold of every TrainJob, whatever its runtime."""
    name = obj.get("metadata", {}).get("name", "")
    if name and not _NAME.match(name):
        message = (
            "must be a lowercase DNS-1035 label of at most 63 characters, because hosts are named "
            "after it"
        )
        yield FieldError("metadata.name", "Invalid value", message, name)
    spec = obj.get("spec") or {}
    reference = spec.get("runtimeRef") or {}
    if not reference.get("name"):
        message = "name the runtime, such as torch-distributed"
        yield FieldError("spec.runtimeRef.name", "Required value", message)
    elif reference.get("kind") not in _KINDS or reference.get("apiGroup") != TRAIN_JOBS.group:
        message = "supported values: " + ", ".join(f'"{kind}"' for kind in _KINDS)
        value = f"{reference.get('kind')}.{reference.get('apiGroup')}"
        yield FieldError("spec.runtimeRef.kind", "Unsupported value", message, value)
    if spec.get("managedBy") not in (None, *_MANAGERS):
        message = "supported values: " + ", ".join(f'"{m}"' for m in _MANAGERS)
        yield FieldError("spec.managedBy", "Unsupported value", message, spec.get("managedBy"))
    yield from _sources(spec.get("initializer") or {})
    yield from _managers(spec)


def _sources(initializer: Obj) -> Iterator[FieldError]:
    for step in ("dataset", "model"):
        uri = (initializer.get(step) or {}).get("storageUri")
        if uri and not _URI.match(uri):
            message = "may be empty, or must be a URI such as s3://bucket/path"
            yield FieldError(f"spec.initializer.{step}.storageUri", "Invalid value", message, uri)


def _managers(spec: Obj) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, patch in enumerate(spec.get("runtimePatches") or ()):
        path, manager = f"spec.runtimePatches[{index}].manager", str(patch.get("manager", ""))
        if not _MANAGER.match(manager):
            message = 'must be a domain-prefixed path (such as "acme.io/foo")'
            yield FieldError(path, "Invalid value", message, manager)
        elif manager in seen:
            yield FieldError(path, "Duplicate value", "", manager)
        seen.add(manager)


def _changes(obj: Obj, old: Obj, request: AdmissionRequest) -> Iterator[FieldError]:
    before, after = old.get("spec") or {}, obj["spec"]
    for field in _IMMUTABLE:
        if before.get(field) != after.get(field):
            yield FieldError(f"spec.{field}", "Forbidden", "the field is immutable")
    if before.get("runtimePatches") == after.get("runtimePatches"):
        return
    path = "spec.runtimePatches"
    # Kueue changes patches and lets the job go in one request.
    if not before.get("suspend") and not after.get("suspend"):
        message = "may be changed only while the TrainJob is suspended before or after the update"
        yield FieldError(path, "Forbidden", message)
    elif request.find is not None:
        jobset = request.find(JOB_SETS, obj["metadata"]["name"], namespace(obj))
        for group in ((jobset or {}).get("status") or {}).get("replicatedJobsStatus") or ():
            if group["active"] > 0:
                message = f"may not be changed while pods of the JobSet's {group['name']} run"
                yield FieldError(path, "Forbidden", message)
