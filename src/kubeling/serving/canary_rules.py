"""What is refused in ``spec.canary``, and about a predictor's name.

Upstream: ``validateCanarySpecs`` and ``validatePredictorNameChange``. Two of its rules are not
followed, as nothing here needs them: canaries work in every deployment mode, and beside containers
of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings

__all__ = ["validate_canaries", "validate_variant", "validate_variant_is_kept"]

_NAME: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST: Final = 63 - len("--transformer")
_TAGS: Final = ("prev", "latest")
_OF_STABLE: Final = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling")


def validate_canaries(obj: Obj) -> Iterator[FieldError]:
    """Names what is wrong with the canaries of a service, apart from their models."""
    spec = mapping(obj.get("spec"))
    stable = mapping(spec.get("predictor"))
    total = 0
    taken: set[str] = set()
    for index, entry in enumerate(mappings(spec.get("canary"))):
        path, predictor = f"spec.canary[{index}]", mapping(entry.get("predictor"))
        title = predictor.get("name")
        if not title:
            message = "its Deployment and its Service are called after it"
            yield FieldError(f"{path}.predictor.name", "Required value", message)
        elif title in taken:
            message = "each canary needs a name of its own"
            yield FieldError(f"{path}.predictor.name", "Duplicate value", message, title)
        elif title == stable.get("name"):
            message = "conflicts with the stable predictor's name, spec.predictor.name"
            yield FieldError(f"{path}.predictor.name", "Duplicate value", message, title)
        elif title in _TAGS:
            message = "is what a share of the stable predictor is tagged with; name it otherwise"
            yield FieldError(f"{path}.predictor.name", "Invalid value", message, title)
        taken.add(str(title))
        yield from _validate_share(path, entry)
        yield from _validate_scaling(path, predictor, stable)
        total += _number(entry.get("trafficPercent"), 0)
    if total > 100:
        message = "the sum of all trafficPercent must be <= 100"
        yield FieldError("spec.canary", "Invalid value", message, total)


def validate_variant(path: str, predictor: Obj, service: str) -> Iterator[FieldError]:
    """A predictor's name is a part of the names of its Deployment and Service."""
    title = predictor.get("name")
    if not title:
        return
    if not _NAME.fullmatch(str(title)):
        message = (
            "must consist of lower case letters, digits and '-', and not begin or end with '-'"
        )
        yield FieldError(f"{path}.name", "Invalid value", message, title)
    elif len(f"{service}{title}") > _LONGEST:
        message = f"may with metadata.name not be longer than {_LONGEST}: a Service is called so"
        yield FieldError(f"{path}.name", "Too long", message)


def validate_variant_is_kept(obj: Obj, old: Obj) -> Iterator[FieldError]:
    """Another name for the same model would only restart it."""
    now, before = (mapping(mapping(one.get("spec")).get("predictor")) for one in (obj, old))
    if (now.get("name") or "") == (before.get("name") or ""):
        return
    if _address(now) == _address(before):
        yield FieldError(
            "spec.predictor.name",
            "Forbidden",
            "may only change together with the model, e.g. its storageUri",
        )


def _validate_share(path: str, entry: Obj) -> Iterator[FieldError]:
    percent = entry.get("trafficPercent")
    if percent is None:
        message = "a percentage of the requests; 0 only starts it"
        yield FieldError(f"{path}.trafficPercent", "Required value", message)
    elif not 0 <= _number(percent, 0) <= 100:
        message = "must be between 0 and 100"
        yield FieldError(f"{path}.trafficPercent", "Invalid value", message, percent)


def _validate_scaling(path: str, predictor: Obj, stable: Obj) -> Iterator[FieldError]:
    for field in _OF_STABLE:
        if predictor.get(field):
            message = (
                "a canary has a fixed number of pods: minReplicas, or its share of the stable's"
            )
            yield FieldError(f"{path}.predictor.{field}", "Forbidden", message)
    own, most = predictor.get("minReplicas"), _number(stable.get("minReplicas"), 1)
    if own is not None and _number(own, 0) > max(1, most):
        message = f"may not exceed the stable predictor's minReplicas ({most})"
        yield FieldError(f"{path}.predictor.minReplicas", "Invalid value", message, own)


def _number(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _address(predictor: Obj) -> Any:
    """What upstream compares: the model's storageUri, or nothing; containers by themselves."""
    model = mapping(predictor.get("model"))
    return (
        model.get("storageUri"),
        model.get("storage"),
        predictor.get("storageUris"),
        predictor.get("containers"),
    )
