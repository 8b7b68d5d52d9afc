"""Builds the objects the tests of serving speak about."""

from __future__ import annotations

from typing import Any

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.serving.admission import ADMISSION
from kubeling.serving.resources import INFERENCE_SERVICES, LEGACY_INFERENCE_SERVICES

CREATE = AdmissionRequest(INFERENCE_SERVICES, "CREATE")


def service(name: str = "iris", *, generation: int = 1, **spec: Any) -> Obj:
    """An InferenceService after admission; without a spec, a scikit-learn model on a bucket."""
    content = spec or {"predictor": {"sklearn": {"storageUri": "gs://bucket/iris"}}}
    obj = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default", "uid": "u1", "generation": generation},
        "spec": content,
    }
    admit(obj)
    return obj


def admit(obj: Obj) -> list[FieldError]:
    """Defaults an object in place and returns what is wrong with it."""
    legacy = obj["apiVersion"].startswith("serving.kubeflow.org")
    admission = ADMISSION[LEGACY_INFERENCE_SERVICES if legacy else INFERENCE_SERVICES]
    assert admission.default is not None
    assert admission.validate is not None
    admission.default(obj, CREATE)
    return list(admission.validate(obj, None, CREATE))


def errors(obj: Obj) -> list[str]:
    """What is wrong with an object, as the user reads it."""
    return [str(error) for error in admit(obj)]
