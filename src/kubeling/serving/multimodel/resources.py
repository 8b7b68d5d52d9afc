"""TrainedModel, as KServe spells it, and what is refused in one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.crd import Column, Condition, IntOrString, crd
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping
from kubeling.kube.quantities import parse_quantity
from kubeling.kube.resources import Resource
from kubeling.serving.name_rules import validate_name
from kubeling.serving.resources import Address
from kubeling.serving.storage.uris import UnknownScheme, parse_uri

__all__ = ["TRAINED_MODELS", "trained_model_definition", "validate_trained_model"]

TRAINED_MODELS: Final = Resource(
    "serving.kserve.io", "v1alpha1", "TrainedModel", "trainedmodels", True, ("tm",)
)
_SCHEMES: Final = ("gs", "s3", "minio", "https", "http", "file")
"""What a running pod can fetch; a claim would have to be mounted before it starts."""


class TrainedModelSource(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model, its format, and the memory that it is counted with."""

    storage_uri: str
    framework: str
    memory: IntOrString


class TrainedModelSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model, and the InferenceService that is to serve it."""

    inference_service: str
    model: TrainedModelSource


class TrainedModelStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What the controller observed."""

    conditions: list[Condition] | None = None
    observed_generation: int | None = None
    url: str | None = None
    address: Address | None = None


def trained_model_definition() -> Obj:
    """The definition of the kind."""
    columns = (
        Column("URL", ".status.url"),
        Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
    )
    return crd(TRAINED_MODELS, TrainedModelSpec, TrainedModelStatus, columns=columns)


def validate_trained_model(obj: Obj, old: Obj | None, _: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with a model (``trainedmodel_webhook.go``)."""
    yield from validate_name(obj)
    model = mapping(mapping(obj.get("spec")).get("model"))
    yield from _validate_uri("spec.model.storageUri", str(model.get("storageUri") or ""))
    memory = model.get("memory")
    if memory is None:
        return
    try:
        wanted = parse_quantity(memory)
    except ValueError as error:
        yield FieldError("spec.model.memory", "Invalid value", str(error), memory)
        return
    before = mapping(mapping(mapping(old or {}).get("spec")).get("model")).get("memory")
    if before is not None and parse_quantity(before) != wanted:
        message = f"is {before}; delete the model and create it anew to change it"
        yield FieldError("spec.model.memory", "Forbidden", message)


def _validate_uri(path: str, uri: str) -> Iterator[FieldError]:
    supported = f"supported: {', '.join(f'{scheme}://' for scheme in _SCHEMES)} and plain paths"
    try:
        scheme = parse_uri(uri).scheme
    except UnknownScheme:
        yield FieldError(path, "Unsupported value", supported, uri)
    except ValueError as error:
        yield FieldError(path, "Invalid value", str(error), uri)
    else:
        if scheme not in _SCHEMES:
            yield FieldError(path, "Unsupported value", supported, uri)
