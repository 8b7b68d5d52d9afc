"""What is filled in and refused when an InferenceService is written.

Clients read the defaults back: a framework field (``sklearn: {storageUri: …}``) becomes ``model``
with its format, and the scale subresource finds ``minReplicas``. Both are upstream's behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kubeling.kube.admission import Admission, AdmissionRequest, ListAll
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.kube.resources import Resource
from kubeling.serving import legacy, tracing, validation
from kubeling.serving.annotation_rules import warn_of_annotations
from kubeling.serving.configuration import default_by_config, local_models_are_used
from kubeling.serving.localmodel.copies import mark
from kubeling.serving.localmodel.resources import CACHES
from kubeling.serving.names import DEPLOYMENT_MODE, KNATIVE, STANDARD
from kubeling.serving.resources import (
    CLUSTER_SERVING_RUNTIMES,
    FRAMEWORKS,
    INFERENCE_SERVICES,
    LEGACY_INFERENCE_SERVICES,
    SERVING_RUNTIMES,
    V1ALPHA2_INFERENCE_SERVICES,
)
from kubeling.serving.runtime_rules import validate_runtime
from kubeling.serving.storage_containers import (
    CLUSTER_STORAGE_CONTAINERS,
    validate_storage_container,
)

__all__ = ["ADMISSION", "default_service", "validate_service"]

_V2_FRAMEWORKS: Final = ("triton", "onnx", "huggingface")
_V2_FORMATS: Final = ("triton", "vLLM")
_MODES: Final = {"RawDeployment": STANDARD, "Serverless": KNATIVE}
"""What the deployment modes were called before KServe 0.16."""


def default_service(obj: Obj, request: AdmissionRequest) -> None:
    """Fills in an InferenceService in place."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    predictor = spec.get("predictor")
    if isinstance(predictor, dict):
        _framework_to_model(predictor, update=request.operation == "UPDATE")
        if predictor.get("minReplicas") is None:
            predictor["minReplicas"] = 1
    for entry in mappings(spec.get("canary")):
        if isinstance(entry.get("predictor"), dict):
            _framework_to_model(entry["predictor"], update=request.operation == "UPDATE")
            _name_containers(entry["predictor"])
    for component in (predictor, spec.get("transformer"), spec.get("explainer")):
        if isinstance(component, dict):
            _name_containers(component)
    tracing.default_tracing(spec)
    _default_annotations(obj, mapping(mapping(predictor).get("model")))
    default_by_config(obj, request)
    if request.list is not None and local_models_are_used(request):
        where = str(obj["metadata"].get("namespace") or "")
        mark(obj, [c for kind in CACHES for c in _of(request.list, kind, where)])


def _of(listed: ListAll, kind: Resource, where: str) -> Iterable[Obj]:
    return listed(kind, where if kind.namespaced else "")


def _default_annotations(obj: Obj, model: Obj) -> None:
    """The mode by its present name, and the format, by which upstream's tools list models."""
    found = obj["metadata"].get("annotations")
    if isinstance(found, dict) and (mode := found.get(DEPLOYMENT_MODE)) in _MODES:
        found[DEPLOYMENT_MODE] = _MODES[mode]
    title = mapping(model.get("modelFormat")).get("name")
    if title and (found is None or isinstance(found, dict)):
        obj["metadata"]["annotations"] = {**(found or {}), "modelFormat": title}


def _framework_to_model(predictor: Obj, *, update: bool) -> None:
    """Rewrites the field; on an update it replaces the ``model`` that an earlier one became."""
    named = [field for field in FRAMEWORKS if predictor.get(field) is not None]
    given = mapping(predictor.get("model"))
    if not named and mapping(given.get("modelFormat")).get("name") in _V2_FORMATS:
        given.setdefault("protocolVersion", "v2")
    if len(named) != 1 or (predictor.get("model") is not None and not update):
        return
    content = predictor[named[0]]
    if not isinstance(content, dict):
        return
    del predictor[named[0]]
    model = {"modelFormat": {"name": named[0]}, **content}
    model.setdefault("protocolVersion", "v2" if named[0] in _V2_FRAMEWORKS else "v1")
    predictor["model"] = model


def _name_containers(component: Obj) -> None:
    """Names the container that serves; beside a model all are others."""
    containers = None if component.get("model") else component.get("containers")
    if isinstance(containers, list) and len(containers) == 1 and isinstance(containers[0], dict):
        containers[0].setdefault("name", "kserve-container")


def validate_service(obj: Obj, old: Obj | None, _: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with an InferenceService."""
    yield from validation.validate_service(obj, old)


def _default_legacy(obj: Obj, _: AdmissionRequest) -> None:
    """Only what the schema and the scale subresource need: the object stays as it was written."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    for endpoint in (spec, *map(mapping, legacy.endpoint_specs(spec).values())):
        for title in ("predictor", "transformer", "explainer"):
            if isinstance(endpoint.get(title), dict):
                legacy.name_custom_container(endpoint[title])
    predictor = spec.get("predictor")
    if isinstance(predictor, dict) and predictor.get("minReplicas") is None:
        predictor["minReplicas"] = 1


def _validate_legacy(obj: Obj, old: Obj | None, request: AdmissionRequest) -> Iterator[FieldError]:
    """The converted object must be valid; fields are named as the user wrote them."""
    spec = mapping(obj.get("spec"))
    endpoints = legacy.endpoint_specs(spec)
    if not endpoints:
        yield from _validate_converted(obj, obj.get("spec"), "spec", old, request)
        return
    if spec.get("predictor") is not None:
        message = "is v1beta1, default and canary are v1alpha2; keep one of the two"
        yield FieldError("spec.predictor", "Forbidden", message)
    if "default" not in endpoints:
        yield FieldError("spec.default", "Required value", "a canary takes a part of its requests")
    if spec.get("canaryTrafficPercent") and "canary" not in endpoints:
        message = "there is no canary to get them"
        yield FieldError("spec.canaryTrafficPercent", "Forbidden", message)
    for title, endpoint in endpoints.items():
        yield from _validate_converted(obj, endpoint, f"spec.{title}", old, request)


def _validate_converted(
    obj: Obj, spec: object, root: str, old: Obj | None, request: AdmissionRequest
) -> Iterator[FieldError]:
    converted = {
        **obj,
        "metadata": dict(obj["metadata"]),
        "spec": legacy.convert_spec(spec),
    }
    default_service(converted, request)
    for error in validate_service(converted, old, request):
        path = legacy.original_path(error.path, spec)
        if path.startswith("spec."):
            path = root + path.removeprefix("spec")
        yield FieldError(path, error.reason, error.message, error.value)


ADMISSION: Final[Mapping[Resource, Admission]] = {
    INFERENCE_SERVICES: Admission(default_service, validate_service, warn_of_annotations),
    LEGACY_INFERENCE_SERVICES: Admission(_default_legacy, _validate_legacy),
    V1ALPHA2_INFERENCE_SERVICES: Admission(_default_legacy, _validate_legacy),
    SERVING_RUNTIMES: Admission(validate=validate_runtime),
    CLUSTER_SERVING_RUNTIMES: Admission(validate=validate_runtime),
    CLUSTER_STORAGE_CONTAINERS: Admission(validate=validate_storage_container),
}
