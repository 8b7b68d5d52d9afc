"""What is refused in the scaling and the rollout of a workload, by upstream's webhook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping

__all__ = ["validate_rollout", "validate_scaling"]

_COST: Final = re.compile(r"^\d+(\.\d+)?$")
_PERCENT: Final = re.compile(r"^[0-9]+%$")


def validate_scaling(base: str, workload: Obj) -> Iterator[FieldError]:
    """Names what is wrong with ``scaling``."""
    scaling, path = workload.get("scaling"), f"{base}.scaling"
    if not isinstance(scaling, dict):
        return
    if workload.get("replicas") is not None:
        message = (
            "scaling and replicas are mutually exclusive; use scaling for autoscaled deployments "
            "or replicas for static deployments"
        )
        yield FieldError(path, "Invalid value", message, scaling)
    low, high = scaling.get("minReplicas"), scaling.get("maxReplicas")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        message = f"minReplicas ({low}) cannot exceed maxReplicas ({high})"
        yield FieldError(f"{path}.minReplicas", "Invalid value", message, low)
    wva, keda = scaling.get("wva"), scaling.get("keda")
    if wva is not None and keda is not None:
        message = "wva and keda are mutually exclusive; choose one scaling mechanism"
        yield FieldError(path, "Invalid value", message, scaling)
    elif wva is None and keda is None:
        message = "either wva or keda must be specified when scaling is configured"
        yield FieldError(path, "Required value", message)
    elif keda is not None:
        if not mapping(keda).get("triggers"):
            message = "at least one trigger is required when using direct KEDA scaling"
            yield FieldError(f"{path}.keda.triggers", "Required value", message)
        yield from _keda(f"{path}.keda", path, mapping(keda), low, modifiers=True)
    else:
        yield from _wva(f"{path}.wva", path, mapping(wva), low)


def _wva(path: str, scaling: str, wva: Obj, low: Any) -> Iterator[FieldError]:
    hpa, keda = wva.get("hpa"), wva.get("keda")
    if hpa is not None and keda is not None:
        message = "hpa and keda are mutually exclusive; choose one actuator backend"
        yield FieldError(path, "Invalid value", message, wva)
    elif hpa is None and keda is None:
        message = "either hpa or keda must be specified as the actuator backend"
        yield FieldError(path, "Required value", message)
    cost = wva.get("variantCost")
    if cost and not _COST.match(str(cost)):
        message = 'variantCost must be a non-negative numeric string (e.g., "10", "10.0", "0.5")'
        yield FieldError(f"{path}.variantCost", "Invalid value", message, cost)
    if keda is not None:
        yield from _keda(f"{path}.keda", scaling, mapping(keda), low, modifiers=False)


def _keda(path: str, scaling: str, keda: Obj, low: Any, *, modifiers: bool) -> Iterator[FieldError]:
    advanced = mapping(keda.get("advanced"))
    if not modifiers and any(mapping(advanced.get("scalingModifiers")).values()):
        message = (
            "scalingModifiers must not be set; WVA controls the scaling metric formula and logic"
        )
        yield FieldError(f"{path}.advanced.scalingModifiers", "Forbidden", message)
    if mapping(advanced.get("horizontalPodAutoscalerConfig")).get("name"):
        place = f"{path}.advanced.horizontalPodAutoscalerConfig.name"
        message = (
            "horizontalPodAutoscalerConfig.name must not be set; the controller manages the HPA "
            "name"
        )
        yield FieldError(place, "Forbidden", message)
    idle = keda.get("idleReplicaCount")
    if not isinstance(idle, int):
        return
    if low is None:
        message = (
            "minReplicas is required when idleReplicaCount is set; idleReplicaCount "
            f"({idle}) must be less than minReplicas"
        )
        yield FieldError(f"{scaling}.minReplicas", "Required value", message)
    elif idle >= low:
        message = (
            f"idleReplicaCount ({idle}) must be less than minReplicas ({low}); idleReplicaCount "
            "defines the replica floor when no triggers are active"
        )
        yield FieldError(f"{path}.idleReplicaCount", "Invalid value", message, idle)


def validate_rollout(base: str, workload: Obj) -> Iterator[FieldError]:
    """Names what is wrong with ``rolloutStrategy``."""
    strategy, path = workload.get("rolloutStrategy"), f"{base}.rolloutStrategy"
    if not isinstance(strategy, dict):
        return
    wrong = False
    for key in ("maxUnavailable", "maxSurge"):
        if message := _not_a_share(strategy.get(key)):
            wrong = True
            yield FieldError(f"{path}.{key}", "Invalid value", message, strategy[key])
    if wrong:
        return
    unavailable, surge = strategy.get("maxUnavailable"), strategy.get("maxSurge")
    if unavailable is not None and surge is not None and _nothing(unavailable) and _nothing(surge):
        message = (
            "maxUnavailable and maxSurge cannot both be zero; this would prevent any rolling "
            "update progress"
        )
        yield FieldError(path, "Invalid value", message, strategy)
    several = workload.get("worker") is not None
    if several and unavailable is not None and surge is None and _nothing(unavailable):
        message = (
            "maxSurge is required for multi-node workloads when maxUnavailable is 0, otherwise no "
            "rolling update progress is possible"
        )
        yield FieldError(f"{path}.maxSurge", "Required value", message)


def _not_a_share(value: Any) -> str:
    if value is None or (isinstance(value, int) and value >= 0):
        return ""
    if isinstance(value, int):
        return "must be greater than or equal to 0"
    if not _PERCENT.match(str(value)):
        return (
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        )
    return "must not be greater than 100%" if int(value[:-1]) > 100 else ""


def _nothing(value: Any) -> bool:
    return value in (0, "0%")
