"""The admission of Experiments, and of the pods of trials; all else is written by controllers."""

from __future__ import annotations

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS, Resource
from kubeling.tuning.defaults import set_defaults
from kubeling.tuning.injection import inject
from kubeling.tuning.instrumentation import TRIAL_LABEL
from kubeling.tuning.resources import EXPERIMENTS
from kubeling.tuning.validation import experiment_errors

__all__ = ["admissions"]


def admissions() -> dict[Resource, Admission]:
    """Defaults and rules, and what pods of trials are given."""
    return {
        EXPERIMENTS: Admission(_default, _validate),
        PODS: Admission(inject, labelled=TRIAL_LABEL),
    }


def _default(obj: Obj, _: AdmissionRequest) -> None:
    set_defaults(obj)


def _validate(obj: Obj, old: Obj | None, request: AdmissionRequest) -> list[FieldError]:
    return list(experiment_errors(obj, old, request.find))
