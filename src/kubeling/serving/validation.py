"""What is refused in an InferenceService as a whole; its components have rules of their own.

The rules are those of upstream's validating webhook (``inference_service_validation.go``), said
with the field, the value and the remedy.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.serving.canary_limits import validate_limits
from kubeling.serving.canary_rules import (
    validate_canaries,
    validate_variant,
    validate_variant_is_kept,
)
from kubeling.serving.component_rules import validate_component
from kubeling.serving.in_front_rules import validate_watched
from kubeling.serving.name_rules import validate_name
from kubeling.serving.names import AUTOSCALER_CLASS, COLLOCATED, DEPLOYMENT_MODE, KNATIVE, STANDARD
from kubeling.serving.resources import FRAMEWORKS
from kubeling.serving.storage.uris import UnknownScheme, parse_uri
from kubeling.serving.tracing import tracing_errors
from kubeling.serving.watching.settings import validate_monitoring

__all__ = ["validate_service"]

_LONGEST_NAME: Final = 63 - len("-transformer-00001")
_AUTOSCALERS: Final = ("hpa", "external", "none")
_MODES: Final = (STANDARD, KNATIVE)


def validate_service(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Names what is wrong with an InferenceService; what is being deleted may go as it is."""
    if old is not None and objects.deletion_requested(obj):
        return
    yield from _validate_name(obj)
    spec = mapping(obj.get("spec"))
    if not isinstance(spec.get("predictor"), dict):
        yield FieldError(
            "spec.predictor",
            "Required value",
            "say what to serve, e.g. predictor: {sklearn: {storageUri: gs://bucket/model}}",
        )
        return
    annotations = mapping(obj["metadata"].get("annotations"))
    title = str(obj["metadata"].get("name") or "")
    predictors = {"spec.predictor": spec["predictor"]}
    for index, entry in enumerate(mappings(spec.get("canary"))):
        if isinstance(entry.get("predictor"), dict):
            predictors[f"spec.canary[{index}].predictor"] = entry["predictor"]
    for path, predictor in predictors.items():
        yield from _validate_predictor(path, predictor)
        yield from validate_variant(path, predictor, title)
        yield from validate_component(path, predictor, annotations)
        yield from validate_watched(path, predictor, obj)
        yield from _validate_places(f"{path}.storageUris", predictor)
    for component in ("transformer", "explainer"):
        content = spec.get(component)
        if isinstance(content, dict):
            yield from _validate_own(component, content)
            yield from validate_component(f"spec.{component}", content, annotations)
            yield from _validate_places(f"spec.{component}.storageUris", content)
    yield from tracing_errors(spec)
    yield from validate_canaries(obj)
    yield from _validate_annotations(annotations)
    yield from validate_limits(annotations)
    yield from validate_monitoring(annotations)
    if old is not None:
        yield from _validate_mode_is_kept(annotations, old)
        yield from validate_variant_is_kept(obj, old)


def _validate_name(obj: Obj) -> Iterator[FieldError]:
    yield from validate_name(obj)
    name = str(obj["metadata"].get("name") or "")
    if len(name) > _LONGEST_NAME:
        yield FieldError(
            "metadata.name",
            "Too long",
            f"may not be longer than {_LONGEST_NAME}: names of its revisions are made from it",
        )


def _validate_predictor(path: str, predictor: Obj) -> Iterator[FieldError]:
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
    yield from _validate_collocated(f"{path}.containers", mappings(predictor.get("containers")))
    if predictor.get("workerSpec") is not None:
        yield FieldError(
            f"{path}.workerSpec",
            "Forbidden",
            "a model spread over several nodes needs a runtime of a GPU cluster; leave it out",
        )


def _validate_model(path: str, model: Obj, predictor: Obj) -> Iterator[FieldError]:
    if model.get("name"):
        yield FieldError(f"{path}.name", "Forbidden", "the container's name is the runtime's")
    if path.endswith(".model") and not mapping(model.get("modelFormat")).get("name"):
        yield FieldError(
            f"{path}.modelFormat.name", "Required value", "name the format, e.g. sklearn"
        )
    uri = model.get("storageUri")
    if uri and predictor.get("storageUris"):
        yield FieldError(f"{path}.storageUri", "Forbidden", "may not be used with storageUris")
    if uri and model.get("storage"):
        yield FieldError(f"{path}.storageUri", "Forbidden", "may not be used with storage")
    if isinstance(uri, str):
        yield from _validate_uri(f"{path}.storageUri", uri)
    if mapping(model.get("confidential")).get("enabled"):
        yield FieldError(
            f"{path}.confidential.enabled",
            "Forbidden",
            "needs a key broker and a trusted execution environment; serve the model decrypted",
        )


def _validate_uri(path: str, uri: str) -> Iterator[FieldError]:
    try:
        parse_uri(uri)
    except UnknownScheme:
        # A ClusterStorageContainer may fetch it; that there is none is said in the status.
        return
    except ValueError as error:
        yield FieldError(path, "Invalid value", str(error), uri)


def _validate_places(path: str, component: Obj) -> Iterator[FieldError]:
    """Each model has a place of its own; all that are fetched share a folder to fetch into."""
    entries = mappings(component.get("storageUris"))
    taken: set[str] = set()
    fetched: list[str] = []
    for index, entry in enumerate(entries):
        uri, place = str(entry.get("uri") or ""), str(entry.get("mountPath") or "/mnt/models")
        yield from _validate_uri(f"{path}[{index}].uri", uri)
        where = f"{path}[{index}].mountPath"
        normal = posixpath.normpath("/" + place.strip("/"))
        if not place.startswith("/") or ".." in place.split("/") or normal == "/":
            message = "must be an absolute path below / without .."
            yield FieldError(where, "Invalid value", message, place)
        elif normal in taken:
            yield FieldError(where, "Duplicate value", "each model needs a place of its own", place)
        elif not uri.startswith("pvc://"):
            fetched.append(normal)
        taken.add(normal)
    if len(fetched) > 1 and posixpath.commonpath(fetched) == "/":
        yield FieldError(
            path, "Invalid value", "the mountPaths must share a folder below /", sorted(fetched)
        )


def _validate_collocated(path: str, containers: Sequence[Obj]) -> Iterator[FieldError]:
    for index, container in enumerate(containers):
        if container.get("name") != COLLOCATED:
            continue
        for number, variable in enumerate(mappings(container.get("env"))):
            if variable.get("name") == "STORAGE_URI":
                yield FieldError(
                    f"{path}[{index}].env[{number}].name",
                    "Forbidden",
                    "the model belongs to the predictor's container, not to the transformer's",
                )


def _validate_own(component: str, content: Obj) -> Iterator[FieldError]:
    """A transformer or explainer: containers of one's own, or what is known by name."""
    path = f"spec.{component}"
    art = content.get("art") if component == "explainer" else None
    if art is not None and content.get("containers"):
        yield FieldError(f"{path}.art", "Forbidden", "may not be used with containers")
    elif art is None and not content.get("containers"):
        yield FieldError(
            f"{path}.containers",
            "Required value",
            f"a{'n' if component == 'explainer' else ''} {component} is a container of your own: "
            "give at least its image",
        )
    if isinstance(art, dict) and not art.get("type"):
        yield FieldError(f"{path}.art.type", "Required value", "e.g. SquareAttack")


def _validate_annotations(found: Mapping[str, Any]) -> Iterator[FieldError]:
    for key, supported in ((AUTOSCALER_CLASS, _AUTOSCALERS), (DEPLOYMENT_MODE, _MODES)):
        value = found.get(key)
        if value is not None and value not in supported:
            yield FieldError(
                f"metadata.annotations[{key}]",
                "Unsupported value",
                f"supported: {', '.join(supported)}",
                value,
            )


def _validate_mode_is_kept(annotations: Mapping[str, Any], old: Obj) -> Iterator[FieldError]:
    before = mapping(old.get("status")).get("deploymentMode")
    now = annotations.get(DEPLOYMENT_MODE) or objects.annotations(old).get(DEPLOYMENT_MODE)
    if before and now and now != before:
        yield FieldError(
            f"metadata.annotations[{DEPLOYMENT_MODE}]",
            "Forbidden",
            f"the service runs in the mode {before}; delete it and create it anew to change that",
        )
