"""What is filled into runtimes when they are written, and what is refused (upstream's webhooks)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, labels, mapping, mappings
from kubeling.training.trainer.environment import framework_of
from kubeling.training.trainer.template import INITIALIZERS, NODE, TRAINER, containers, step

__all__ = ["runtime_admission"]

_OPT_OUT: Final = "trainer.kubeflow.org/webhook-validation"
_FRAMEWORKS: Final = ("torch", "mpi", "jax", "xgboost", "flux")
_REQUIRED: Final = {TRAINER: NODE, **{name: name for name in INITIALIZERS}}


def runtime_admission() -> Admission:
    """The admission of either kind of runtime."""
    return Admission(_default, _validate, _warn)


def _default(obj: Obj, _: AdmissionRequest) -> None:
    for group in _groups(obj):
        group.setdefault("replicas", 1)


def _validate(obj: Obj, _old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    return [] if labels(obj).get(_OPT_OUT) == "disabled" else list(_violations(obj))


def _violations(obj: Obj) -> Iterator[FieldError]:
    spec = obj.get("spec") or {}
    policy = spec.get("mlPolicy") or {}
    if sum(policy.get(name) is not None for name in _FRAMEWORKS) > 1:
        yield FieldError("spec.mlPolicy", "Invalid value", "only one of the policies can be set")
    groups = spec.get("podGroupPolicy") or {}
    if sum(groups.get(name) is not None for name in ("coscheduling", "volcano")) > 1:
        message = "only one of coscheduling and volcano can be set"
        yield FieldError("spec.podGroupPolicy", "Invalid value", message)
    injection = (policy.get("torch") or {}).get("envInjection") or {}
    for index, target in enumerate(injection.get("targets") or ()):
        if NODE in target["containerNames"]:
            path = f"spec.mlPolicy.torch.envInjection.targets[{index}].containerNames"
            message = "must not include the node container, which is always told"
            yield FieldError(path, "Invalid value", message, target["containerNames"])
    for index, group in enumerate(_groups(obj)):
        if part := step(group):
            path = f"spec.template.spec.replicatedJobs[{index}]"
            if group.get("replicas") != 1:
                message = "always must be 1"
                yield FieldError(
                    f"{path}.replicas", "Invalid value", message, group.get("replicas")
                )
            if not containers(group, _REQUIRED[part]):
                named = f"{path}.template.spec.template.spec.containers"
                message = f"must contain the required container for the ancestor: {part}"
                yield FieldError(named, "Invalid value", f"{message} ({_REQUIRED[part]})")


def _warn(obj: Obj, _: AdmissionRequest) -> Iterable[str]:
    if framework_of((obj.get("spec") or {}).get("mlPolicy") or {}) == "flux":
        yield "spec.mlPolicy.flux: TrainJobs that name this runtime are refused"


def _groups(obj: Obj) -> list[Obj]:
    """Also of an object whose schema was not checked yet."""
    template = mapping(mapping(obj.get("spec")).get("template"))
    return mappings(mapping(template.get("spec")).get("replicatedJobs"))
