"""What an InferenceService says about its requests: read from its spec and status alone."""

from __future__ import annotations

from collections.abc import Sequence

from kubeling.kube.objects import Obj, condition, name
from kubeling.serving.names import COMPONENTS
from kubeling.serving.scaling import policy_of
from kubeling.serving.timeouts import USUAL_TIMEOUT

__all__ = [
    "has_failed",
    "heaviest",
    "is_explanation",
    "is_up_to_date",
    "limit_of",
    "number_of",
    "rests",
    "timeout_of",
    "weights_of",
    "why_not_ready",
]


def is_explanation(target: str) -> bool:
    """Whether a path has the verb that upstream sends to the explainer, where there is one."""
    return target.partition("?")[0].endswith(":explain")


def rests(isvc: Obj) -> bool:
    """Whether a component may have no pods while nobody asks."""
    return any(c in isvc["spec"] and policy_of(isvc, c).rests for c in COMPONENTS)


def number_of(revision: str) -> int:
    """The number that a revision's name ends with."""
    return int(revision.rpartition("-")[2])


def limit_of(isvc: Obj) -> int:
    """How many requests a pod takes at once; 0 is any number."""
    return int(isvc["spec"]["predictor"].get("containerConcurrency") or 0)


def weights_of(isvc: Obj) -> dict[str, int]:
    """Percent of the requests by revision."""
    components = (isvc.get("status") or {}).get("components") or {}
    traffic = (components.get("predictor") or {}).get("traffic") or ()
    return {entry["revisionName"]: int(entry.get("percent") or 0) for entry in traffic}


def heaviest(isvc: Obj) -> Sequence[int]:
    """The revision that gets most of the requests, if there is one."""
    weights = weights_of(isvc)
    return [number_of(max(weights, key=lambda revision: weights[revision]))] if weights else []


def timeout_of(isvc: Obj) -> float:
    """The seconds that an answer may take."""
    return float(isvc["spec"]["predictor"].get("timeout") or USUAL_TIMEOUT)


def is_up_to_date(isvc: Obj) -> bool:
    """Whether the newest revision has loaded its model."""
    return _transition(isvc) == "UpToDate"


def has_failed(isvc: Obj) -> bool:
    """Whether the newest revision cannot load its model."""
    return _transition(isvc) == "BlockedByFailedLoad"


def why_not_ready(isvc: Obj) -> str:
    """What to tell who asks a service that cannot answer."""
    ready = condition(isvc, "Ready")
    said = f": {ready.message}" if ready is not None and ready.message else ""
    return f"{name(isvc)} is not ready{said}"


def _transition(isvc: Obj) -> str:
    model = (isvc.get("status") or {}).get("modelStatus") or {}
    return str(model.get("transitionStatus") or "")
