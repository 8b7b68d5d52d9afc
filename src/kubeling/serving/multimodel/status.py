"""The status of a TrainedModel, and whether its service can take it; pure.

Upstream calls a model ready as soon as its service could load it. Here it is ready when the pods
say they have it, where they can be asked; else a client that waited would be answered 404.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kubeling.kube.objects import (
    Obj,
    deep_copy,
    generation,
    is_condition_true,
    mapping,
    name,
    set_condition,
)
from kubeling.kube.quantities import Quantity, parse_quantity
from kubeling.serving.multimodel.listing import ModelSpec

__all__ = ["Loading", "accepted", "digest_of", "model_config", "model_status"]

Loading = Mapping[str, tuple[str, str]]
"""By model, the value of the condition ``ModelLoaded`` and its message."""

_UNKNOWN: Final = ("Unknown", "no pod could be asked")


def accepted(isvc: Obj, models: Sequence[Obj]) -> list[Obj]:
    """The models that the service's pods are to load: the oldest first, while there is memory."""
    predictor = isvc["spec"]["predictor"]
    limit = _memory_limit(predictor)
    found: list[Obj] = []
    taken = Quantity(0)
    for model in sorted(models, key=_age):
        needed = parse_quantity(model["spec"]["model"]["memory"])
        if _framework_fits(predictor, model) and (limit is None or taken + needed <= limit):
            found.append(model)
            taken += needed
    return found


def digest_of(model: Obj) -> str:
    """What tells the agent's server that it has this very model."""
    return msgspec.convert(model["spec"]["model"], ModelSpec).digest


def model_config(models: Sequence[Obj]) -> list[Obj]:
    """The list that agents read, in upstream's form."""
    return [
        {"modelName": name(model), "modelSpec": {**model["spec"]["model"]}}
        for model in sorted(models, key=name)
    ]


def model_status(
    model: Obj,
    isvc: Obj | None,
    taken: Sequence[Obj] | None,
    loading: Loading,
    now: dt.datetime,
) -> Obj:
    """The status of one model.

    ``isvc`` is ``None`` if the service does not exist, ``taken`` if it serves a model of its own.
    """
    status: Obj = deep_copy(model.get("status") or {})
    status["observedGeneration"] = generation(model)
    parent = model["spec"]["inferenceService"]
    if isvc is None:
        message = f'there is no InferenceService "{parent}" in the namespace'
        for kind in ("InferenceServiceReady", "Ready"):
            set_condition(
                status, kind, False, reason="InferenceServiceNotFound", message=message, now=now
            )
        return status
    checks = _checks(model, isvc, taken)
    for kind, (holds, message) in checks.items():
        reason = "" if holds else _REASONS[kind]
        said = "" if holds else message
        set_condition(status, kind, holds, reason=reason, message=said, now=now)
    failed = next((kind for kind, (holds, _) in checks.items() if not holds), None)
    value, message = loading.get(name(model), _UNKNOWN) if failed is None else ("Unknown", "")
    reason = {"True": "", "False": "ModelNotLoaded"}.get(value, "Unknown")
    set_condition(status, "ModelLoaded", value, reason=reason, message=message, now=now)
    if failed is not None:
        reason, message = _REASONS[failed], checks[failed][1]
    ready = failed is None and value != "False"
    set_condition(
        status,
        "Ready",
        ready,
        reason="" if ready else reason,
        message="" if ready else message,
        now=now,
    )
    _add_addresses(status, model, isvc)
    return status


_REASONS: Final = {
    "InferenceServiceReady": "InferenceServiceNotReady",
    "IsMMSPredictor": "IsNotMMSPredictor",
    "FrameworkSupported": "FrameworkNotSupported",
    "MemoryResourceAvailable": "MemoryResourceNotAvailable",
}


def _checks(model: Obj, isvc: Obj, taken: Sequence[Obj] | None) -> dict[str, tuple[bool, str]]:
    predictor = isvc["spec"]["predictor"]
    fits = taken is None or _framework_fits(predictor, model)
    has_room = taken is None or not fits or name(model) in map(name, taken)
    return {
        "InferenceServiceReady": (
            is_condition_true(isvc, "Ready"),
            f"InferenceService {name(isvc)} is not ready",
        ),
        "IsMMSPredictor": (
            taken is not None,
            f"InferenceService {name(isvc)} serves a model of its own; leave out its storageUri",
        ),
        "FrameworkSupported": (
            fits,
            f"InferenceService {name(isvc)} serves {_format(predictor)}, not "
            f"{model['spec']['model']['framework']}",
        ),
        "MemoryResourceAvailable": (
            has_room,
            f"the memory limit of InferenceService {name(isvc)} has no room for "
            f"{model['spec']['model']['memory']} more",
        ),
    }


def _add_addresses(status: Obj, model: Obj, isvc: Obj) -> None:
    found = isvc.get("status") or {}
    protocol = mapping(isvc["spec"]["predictor"].get("model")).get("protocolVersion")
    path = f"v2/models/{name(model)}/infer" if protocol == "v2" else f"v1/models/{name(model)}"
    path += "" if protocol == "v2" else ":predict"
    if url := found.get("url"):
        status["url"] = f"{url}/{path}"
    if cluster_url := mapping(found.get("address")).get("url"):
        status["address"] = {"url": f"{cluster_url}/{path}"}


def _format(predictor: Obj) -> str:
    return str(mapping(mapping(predictor.get("model")).get("modelFormat")).get("name") or "")


def _framework_fits(predictor: Obj, model: Obj) -> bool:
    """A container of one's own may serve anything."""
    return _format(predictor) in ("", model["spec"]["model"]["framework"])


def _memory_limit(predictor: Obj) -> Quantity | None:
    containers = predictor.get("containers") or [{}]
    main = predictor.get("model") or containers[0]
    limit = mapping(mapping(main.get("resources")).get("limits")).get("memory")
    return None if limit is None else parse_quantity(limit)


def _age(model: Obj) -> tuple[str, str]:
    return str(model["metadata"].get("creationTimestamp") or ""), name(model)
