"""What is filled into TrainJobs when they are written, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.training.trainer.environment import reserved_names
from kubeling.training.trainer.resources import TRAIN_JOBS

__all__ = ["admissions"]

_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_KINDS: Final = ("TrainingRuntime", "ClusterTrainingRuntime")
_MANAGERS: Final = ("trainer.kubeflow.org/trainjob-controller", "kueue.x-k8s.io/multikueue")
_IMMUTABLE: Final = (
    "runtimeRef",
    "initializer",
    "trainer",
    "activeDeadlineSeconds",
    "managedBy",
)
_RESERVED: Final = frozenset(
    name for framework in ("torch", "jax", "xgboost") for name in reserved_names(framework)
)


def admissions() -> dict[Resource, Admission]:
    """The admission of TrainJobs."""
    return {TRAIN_JOBS: Admission(_default, _validate)}


def _default(obj: Obj, _: AdmissionRequest) -> None:
    spec = obj.get("spec")
    reference = spec.get("runtimeRef") if isinstance(spec, dict) else None
    if isinstance(spec, dict) and isinstance(reference, dict):
        reference.setdefault("apiGroup", TRAIN_JOBS.group)
        reference.setdefault("kind", "ClusterTrainingRuntime")
        spec.setdefault("managedBy", _MANAGERS[0])
        spec.setdefault("suspend", False)


def _validate(obj: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    return list(_violations(obj, old))


def _violations(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    name = obj.get("metadata", {}).get("name", "")
    if name and not _NAME.match(name):
        message = "must be a lowercase DNS-1035 label, because hosts are named after it"
        yield FieldError("metadata.name", "Invalid value", message, name)
    spec = obj.get("spec") or {}
    yield from _reference(spec)
    yield from _trainer(spec)
    manager = spec.get("managedBy")
    if manager not in (None, *_MANAGERS):
        message = "supported values: " + ", ".join(f'"{m}"' for m in _MANAGERS)
        yield FieldError("spec.managedBy", "Unsupported value", message, manager)
    if old is not None:
        before = old.get("spec") or {}
        for field in _IMMUTABLE:
            if before.get(field) != spec.get(field):
                yield FieldError(f"spec.{field}", "Forbidden", "the field is immutable")
        if before.get("runtimePatches") != spec.get("runtimePatches") and not spec.get("suspend"):
            message = "may be changed only while the TrainJob is suspended"
            yield FieldError("spec.runtimePatches", "Forbidden", message)


def _reference(spec: Obj) -> Iterator[FieldError]:
    reference = spec.get("runtimeRef") or {}
    if not reference.get("name"):
        message = "name the runtime, such as torch-distributed"
        yield FieldError("spec.runtimeRef.name", "Required value", message)
    elif reference.get("kind") not in _KINDS:
        message = "supported values: " + ", ".join(f'"{kind}"' for kind in _KINDS)
        yield FieldError(
            "spec.runtimeRef.kind", "Unsupported value", message, reference.get("kind")
        )


def _trainer(spec: Obj) -> Iterator[FieldError]:
    for index, entry in enumerate((spec.get("trainer") or {}).get("env") or ()):
        if entry.get("name") in _RESERVED:
            message = "the runtime sets this variable; use another name"
            yield FieldError(
                f"spec.trainer.env[{index}].name", "Forbidden", message, entry.get("name")
            )
