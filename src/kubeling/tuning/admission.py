"""The admission of Experiments; Suggestions and Trials are written by controllers."""

from __future__ import annotations

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.tuning.defaults import set_defaults
from kubeling.tuning.resources import EXPERIMENTS
from kubeling.tuning.validation import experiment_errors

__all__ = ["admissions"]


def admissions() -> dict[Resource, Admission]:
    """Defaults and rules."""
    return {EXPERIMENTS: Admission(_default, _validate)}


def _default(obj: Obj, _: AdmissionRequest) -> None:
    set_defaults(obj)


def _validate(obj: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    return list(experiment_errors(obj, old))
