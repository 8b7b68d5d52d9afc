"""What is filled in and refused when an InferenceService is written.

Clients read the defaults back: a framework field (``sklearn: {storageUri: …}``) becomes ``model``
with its format, and the scale subresource finds ``minReplicas``. Both are upstream's behaviour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.serving import legacy
from kubeling.serving.resources import (
    FRAMEWORKS,
    INFERENCE_SERVICES,
    LEGACY_INFERENCE_SERVICES,
)
from kubeling.serving.storage.uris import SCHEMES, UnknownScheme, parse_uri

__all__ = ["ADMISSION", "default_service", "validate_service"]

_V2_FRAMEWORKS: Final = ("triton", "onnx", "huggingface")
_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_LONGEST_NAME: Final = 63 - len("-transformer-00001")
_LOG_MODES: Final = ("all", "request", "response")
_AUTOSCALERS: Final = ("hpa", "keda", "external", "none")


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
    for component in (predictor, spec.get("transformer")):
        if isinstance(component, dict):
            _name_containers(component)


def _framework_to_model(predictor: Obj, *, update: bool) -> None:
    """Rewrites the field; on an update it replaces the ``model`` that an earlier one became."""
    named = [field for field in FRAMEWORKS if predictor.get(field) is not None]
    if len(named) != 1 or (predictor.get("model") is not None and not update):
        return
    content = predictor[named[0]]
    if not isinstance(content, dict):
        return
    del predictor[named[0]]
    model = {"modelFormat": {"name": named[0]}, **content}
    if named[0] in _V2_FRAMEWORKS:
        model.setdefault("protocolVersion", "v2")
    predictor["model"] = model


def _name_containers(component: Obj) -> None:
    containers = component.get("containers")
    if isinstance(containers, list) and len(containers) == 1 and isinstance(containers[0], dict):
        containers[0].setdefault("name", "kserve-container")


def validate_service(obj: Obj, old: Obj | None, _: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with an InferenceService."""
    yield from _validate_name(obj)
    spec = obj.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("predictor"), dict):
        yield FieldError(
            "spec.predictor",
            "Required value",
            "say what to serve, e.g. predictor: {sklearn: {storageUri: gs://bucket/model}}",
        )
        return
    yield from _validate_predictor(spec["predictor"])
    yield from _validate_component("spec.predictor", spec["predictor"])
    transformer = spec.get("transformer")
    if isinstance(transformer, dict):
        if not transformer.get("containers"):
            yield FieldError(
                "spec.transformer.containers",
                "Required value",
                "a transformer is a container of your own: give at least its image",
            )
        yield from _validate_component("spec.transformer", transformer)
    yield from _validate_annotations(obj)


def _validate_name(obj: Obj) -> Iterator[FieldError]:
    name = str(obj["metadata"].get("name") or "")
    if name and not _NAME.match(name):
        yield FieldError(
            "metadata.name",
            "Invalid value",
            "must consist of lower case letters, digits and '-', start with a letter and not end "
            "with '-'",
            name,
        )
    if len(name) > _LONGEST_NAME:
        yield FieldError(
            "metadata.name",
            "Too long",
            f"may not be longer than {_LONGEST_NAME}: names of its revisions are made from it",
        )


def _validate_predictor(predictor: Obj) -> Iterator[FieldError]:
    path = "spec.predictor"
    named = [field for field in ("model", *FRAMEWORKS) if predictor.get(field) is not None]
    if len(named) > 1:
        yield FieldError(
            path,
            "Invalid value",
            f"exactly one of model, containers or a framework may be given; keep one of these: "
            f"{', '.join(named)}",
            named,
        )
        return
    if not named and not predictor.get("containers"):
        yield FieldError(
            path,
            "Required value",
            f"give one of model, containers, {', '.join(FRAMEWORKS)}",
        )
    if named:
        model = predictor[named[0]]
        if isinstance(model, dict):
            yield from _validate_model(f"{path}.{named[0]}", model, predictor)


def _validate_model(path: str, model: Obj, predictor: Obj) -> Iterator[FieldError]:
    if model.get("name"):
        yield FieldError(f"{path}.name", "Forbidden", "the container's name is the runtime's")
    if path.endswith(".model") and not (model.get("modelFormat") or {}).get("name"):
        yield FieldError(
            f"{path}.modelFormat.name", "Required value", "name the format, e.g. sklearn"
        )
    uri = model.get("storageUri")
    if uri and predictor.get("storageUris"):
        yield FieldError(f"{path}.storageUri", "Forbidden", "may not be used with storageUris")
    if isinstance(uri, str):
        yield from _validate_uri(f"{path}.storageUri", uri)
    for index, entry in enumerate(predictor.get("storageUris") or ()):
        yield from _validate_uri(f"spec.predictor.storageUris[{index}].uri", entry.get("uri", ""))


def _validate_uri(path: str, uri: str) -> Iterator[FieldError]:
    try:
        parse_uri(uri)
    except UnknownScheme:
        yield FieldError(
            path,
            "Unsupported value",
            f"supported: {', '.join(f'{scheme}://' for scheme in SCHEMES)} and plain paths",
            uri,
        )
    except ValueError as error:
        yield FieldError(path, "Invalid value", str(error), uri)


def _validate_component(path: str, component: Obj) -> Iterator[FieldError]:
    low, high = component.get("minReplicas"), component.get("maxReplicas")
    for field, value in (("minReplicas", low), ("maxReplicas", high)):
        if isinstance(value, int) and value < 0:
            yield FieldError(f"{path}.{field}", "Invalid value", "may not be negative", value)
    if isinstance(low, int) and isinstance(high, int) and 0 < high < low:
        yield FieldError(
            f"{path}.maxReplicas",
            "Invalid value",
            f"may not be less than minReplicas ({low})",
            high,
        )
    percent = component.get("canaryTrafficPercent")
    if isinstance(percent, int) and not 0 <= percent <= 100:
        yield FieldError(
            f"{path}.canaryTrafficPercent", "Invalid value", "must be between 0 and 100", percent
        )
    concurrency = component.get("containerConcurrency")
    if isinstance(concurrency, int) and concurrency < 0:
        yield FieldError(
            f"{path}.containerConcurrency", "Invalid value", "may not be negative", concurrency
        )
    yield from _validate_logger(f"{path}.logger", component.get("logger"))
    yield from _validate_containers(path, component)


def _validate_logger(path: str, logger: Any) -> Iterator[FieldError]:
    if not isinstance(logger, dict):
        return
    mode = logger.get("mode")
    if mode is not None and mode not in _LOG_MODES:
        yield FieldError(
            f"{path}.mode", "Unsupported value", f"supported: {', '.join(_LOG_MODES)}", mode
        )
    url = str(logger.get("url") or "")
    if url and not re.match(r"^(https?|file|pvc)://", url):
        yield FieldError(
            f"{path}.url",
            "Unsupported value",
            "supported: http://, https:// (CloudEvents), file:// and pvc:// (a folder)",
            url,
        )


def _validate_containers(path: str, component: Obj) -> Iterator[FieldError]:
    containers = component.get("containers") or ()
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        if not isinstance(container, dict):
            continue
        if not container.get("image") and not component.get("model"):
            yield FieldError(f"{where}.image", "Required value", "name the image to run")
        for number, variable in enumerate(container.get("env") or ()):
            if isinstance(variable, dict) and variable.get("name") == "PYTHONPATH":
                yield FieldError(
                    f"{where}.env[{number}].name",
                    "Forbidden",
                    "PYTHONPATH would hide the server's own modules; install packages instead",
                )


def _validate_annotations(obj: Obj) -> Iterator[FieldError]:
    found: Mapping[str, Any] = obj["metadata"].get("annotations") or {}
    autoscaler = found.get("serving.kserve.io/autoscalerClass")
    if autoscaler is not None and autoscaler not in _AUTOSCALERS:
        yield FieldError(
            "metadata.annotations[serving.kserve.io/autoscalerClass]",
            "Unsupported value",
            f"supported: {', '.join(_AUTOSCALERS)}",
            autoscaler,
        )


def _default_legacy(obj: Obj, _: AdmissionRequest) -> None:
    """Only what the schema and the scale subresource need: the object stays as it was written."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    for component in (spec.get("predictor"), spec.get("transformer")):
        if isinstance(component, dict):
            legacy.name_custom_container(component)
    predictor = spec.get("predictor")
    if isinstance(predictor, dict) and predictor.get("minReplicas") is None:
        predictor["minReplicas"] = 1


def _validate_legacy(obj: Obj, old: Obj | None, request: AdmissionRequest) -> Iterator[FieldError]:
    """The converted object must be valid; paths of ``custom`` are named as the user wrote them."""
    converted = {**obj, "spec": legacy.convert_spec(obj.get("spec"))}
    default_service(converted, request)
    for error in validate_service(converted, None, request):
        path = legacy.original_path(error.path, obj.get("spec"))
        yield FieldError(path, error.reason, error.message, error.value)


ADMISSION: Final[Mapping[Resource, Admission]] = {
    INFERENCE_SERVICES: Admission(default_service, validate_service),
    LEGACY_INFERENCE_SERVICES: Admission(_default_legacy, _validate_legacy),
}
