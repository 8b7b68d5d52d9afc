"""The status of an InferenceService, derived from what was observed, in one place.

The names and the shape are upstream's, because its SDK and its users' scripts read them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, generation, name, set_condition
from kubeling.serving.canaries import Canary
from kubeling.serving.names import (
    KNATIVE,
    STANDARD,
    ComponentName,
    component_selector,
    deployment_name,
    is_knative,
)
from kubeling.serving.observation import Failure, ObservedRevision, pod_failure
from kubeling.serving.revisions import Rollout
from kubeling.serving.route_conditions import set_route_conditions
from kubeling.serving.runtimes import Runtime
from kubeling.serving.workloads import declared_grpc_port

__all__ = ["Addresses", "Facts", "invalid_status", "running_status", "stopped_status"]

_CONDITIONS: Final[Mapping[str, str]] = {
    "predictor": "PredictorReady",
    "transformer": "TransformerReady",
    "explainer": "ExplainerReady",
}
_CANARIES_READY: Final = "CanaryPredictorReady"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a service is reached: from outside, and by its Services' names within a domain.

    Upstream: ``createAddress`` of the raw ingress reconciler, for ``ports`` of headless Services.
    """

    url: str
    domain: str
    ports: Mapping[str, int] = field(default_factory=dict)

    def within(self, service: str) -> str:
        """The address of one of its Services."""
        port = f":{self.ports[service]}" if service in self.ports else ""
        return f"http://{service}.{self.domain}{port}"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a status is derived from."""

    isvc: Obj
    components: Sequence[ComponentName]
    latest: int
    revisions: Mapping[int, ObservedRevision]
    rollout: Rollout
    runtime: Runtime | None
    addresses: Addresses
    canaries: Sequence[Canary] = ()

    def revision_name(self, component: ComponentName, predictor_revision: str) -> str:
        """The component's revision that goes with a predictor's."""
        number = predictor_revision.rpartition("-")[2]
        return deployment_name(name(self.isvc), component, int(number)) if number else ""

    @property
    def observed_latest(self) -> ObservedRevision | None:
        return self.revisions.get(self.latest)

    def answers(self, component: str) -> bool:
        """Whether the component of the newest revision is ready, or serves with fewer pods."""
        observed = self.observed_latest
        if observed is None:
            return False
        title = deployment_name(name(self.isvc), "predictor", self.latest)
        asked = any(share.revision == title for share in self.rollout.shares)
        return observed.component_ready(component) or (
            asked and observed.component_answers(component)
        )


def running_status(facts: Facts, now: dt.datetime) -> Obj:
    """The status of a service that can be run."""
    status = _carried_over(facts.isvc)
    knative = is_knative(objects.annotations(facts.isvc))
    status["deploymentMode"] = KNATIVE if knative else STANDARD
    status["components"] = {
        component: _component(facts, component) for component in facts.components
    }
    _name_runtime(status, facts.runtime)
    status["modelStatus"] = _model_status(facts, now)
    status.pop("canaryStatuses", None)
    if facts.canaries:
        status["canaryStatuses"] = [_canary(facts, canary, now) for canary in facts.canaries]
    status["replicas"] = _replicas(facts)
    status["selector"] = component_selector(name(facts.isvc), "predictor")
    status["url"] = facts.addresses.url
    status["address"] = {"url": facts.addresses.within(name(facts.isvc))}
    _set_conditions(status, facts, now)
    return status


def invalid_status(isvc: Obj, reason: str, message: str, now: dt.datetime) -> Obj:
    """The status of a service whose spec names something that does not exist.

    What ran before goes on running, so the rest of the status stays.
    """
    status = _carried_over(isvc)
    model = status.setdefault("modelStatus", {})
    model["transitionStatus"] = "InvalidSpec"
    model["states"] = {**(model.get("states") or {}), "targetModelState": "FailedToLoad"}
    model["lastFailureInfo"] = {"reason": reason, "message": message}
    set_condition(status, "PredictorReady", False, reason=reason, message=message, now=now)
    set_condition(status, "Ready", False, reason=reason, message=message, now=now)
    return status


def stopped_status(isvc: Obj, now: dt.datetime) -> Obj:
    """The status of a service stopped by its annotation."""
    status = _carried_over(isvc)
    for key in ("url", "address", "modelStatus", "canaryStatuses"):
        status.pop(key, None)
    status["replicas"] = 0
    for component in (status.get("components") or {}).values():
        component["traffic"] = []
    message = "stopped by the annotation serving.kserve.io/stop; remove it to start again"
    for kind in ("PredictorReady", "Ready"):
        set_condition(status, kind, False, reason="Stopped", message=message, now=now)
    if isvc["spec"].get("canary"):
        set_condition(status, _CANARIES_READY, False, reason="Stopped", message=message, now=now)
    set_condition(status, "Stopped", True, reason="Stopped", message=message, now=now)
    return status


def _carried_over(isvc: Obj) -> Obj:
    status: Obj = deep_copy(isvc.get("status") or {})
    status["observedGeneration"] = generation(isvc)
    return status


def _component(facts: Facts, component: ComponentName) -> Obj:
    before = ((facts.isvc.get("status") or {}).get("components") or {}).get(component) or {}
    latest = deployment_name(name(facts.isvc), component, facts.latest)
    ready = facts.answers(component)
    observed = facts.observed_latest
    grpc = (
        observed is not None
        and component in observed.deployments
        and declared_grpc_port(observed.deployments[component]["spec"]["template"])
    )
    history = facts.rollout.history
    shown = {
        "latestCreatedRevision": latest,
        "latestReadyRevision": latest if ready else before.get("latestReadyRevision", ""),
        "latestRolledoutRevision": facts.revision_name(component, history.latest),
        "previousRolledoutRevision": facts.revision_name(component, history.previous),
    }
    entry: Obj = {key: value for key, value in shown.items() if value}
    entry["traffic"] = [
        {**share.to_status(), "revisionName": facts.revision_name(component, share.revision)}
        for share in facts.rollout.shares
    ]
    entry["url"] = entry["restUrl"] = facts.addresses.url.replace(
        f"{name(facts.isvc)}-", f"{name(facts.isvc)}-{component}-", 1
    )
    if grpc:
        entry["grpcUrl"] = entry["url"].replace("http://", "grpc://", 1)
    entry["address"] = {"url": facts.addresses.within(f"{name(facts.isvc)}-{component}")}
    return entry


def _canary(facts: Facts, canary: Canary, now: dt.datetime) -> Obj:
    if canary.desired is None:
        model: Obj = {
            "transitionStatus": "InvalidSpec",
            "states": {"targetModelState": "FailedToLoad"},
        }
        if canary.problem is not None:
            model["lastFailureInfo"] = {
                "reason": canary.problem.reason,
                "message": canary.problem.message,
            }
    else:
        shares = tuple(s for s in facts.rollout.shares if s.revision == canary.revision)
        own = replace(facts, latest=canary.number, rollout=replace(facts.rollout, shares=shares))
        model = _model_status(own, now)
    return {
        "name": canary.name,
        "ready": canary.ready,
        "trafficPercent": canary.share,
        "modelStatus": model,
    }


def _name_runtime(status: Obj, runtime: Runtime | None) -> None:
    for key in ("servingRuntimeName", "clusterServingRuntimeName"):
        status.pop(key, None)
    if runtime is not None:
        cluster = runtime.kind == "ClusterServingRuntime"
        status["clusterServingRuntimeName" if cluster else "servingRuntimeName"] = runtime.name


def _failure(facts: Facts, component: ComponentName) -> Failure | None:
    observed = facts.observed_latest
    if observed is None or observed.component_ready(component):
        return None
    return observed.failure(component)


def _model_status(facts: Facts, now: dt.datetime) -> Obj:
    observed = facts.observed_latest
    loaded = facts.answers("predictor")
    failure = _failure(facts, "predictor")
    serving = any(
        (number := int(share.revision.rpartition("-")[2])) in facts.revisions
        and facts.revisions[number].component_answers("predictor")
        for share in facts.rollout.shares
    )
    states = {
        "activeModelState": "Loaded" if serving else "",
        "targetModelState": _target_state(loaded, failure, observed),
    }
    status: Obj = {
        "transitionStatus": _transition(loaded, failure),
        "states": {key: value for key, value in states.items() if value},
        "copies": _copies(observed),
    }
    if failure is not None and not failure.waiting:
        status["lastFailureInfo"] = _failure_info(facts, failure)
    return status


def _transition(loaded: bool, failure: Failure | None) -> str:
    if loaded:
        return "UpToDate"
    blocked = failure is not None and not failure.waiting
    return "BlockedByFailedLoad" if blocked else "InProgress"


def _target_state(loaded: bool, failure: Failure | None, observed: ObservedRevision | None) -> str:
    if loaded:
        return "Loaded"
    if failure is not None and not failure.waiting:
        return "FailedToLoad"
    return "Loading" if observed is not None and observed.pods.get("predictor") else "Pending"


def _copies(observed: ObservedRevision | None) -> Obj:
    if observed is None or "predictor" not in observed.deployments:
        return {"failedCopies": 0, "totalCopies": 0}
    status = observed.deployments["predictor"].get("status") or {}
    failed = sum(1 for pod in observed.pods.get("predictor", ()) if pod_failure(pod) is not None)
    return {"failedCopies": failed, "totalCopies": int(status.get("readyReplicas") or 0)}


def _failure_info(facts: Facts, failure: Failure) -> Obj:
    info: Obj = {
        "reason": failure.reason,
        "message": failure.message,
        "modelRevisionName": deployment_name(name(facts.isvc), "predictor", facts.latest),
    }
    if failure.location:
        info["location"] = failure.location
    if failure.time:
        info["time"] = failure.time
    if failure.exit_code:
        info["exitCode"] = failure.exit_code
    return info


def _replicas(facts: Facts) -> int:
    """The predictor's pods of all running revisions, as the scale subresource reports them."""
    return sum(
        int((revision.deployments["predictor"].get("status") or {}).get("replicas") or 0)
        for revision in facts.revisions.values()
        if "predictor" in revision.deployments
    )


def _set_conditions(status: Obj, facts: Facts, now: dt.datetime) -> None:
    outdated = {kind for part, kind in _CONDITIONS.items() if part not in facts.components}
    outdated.add("Stopped")
    if not facts.canaries:
        outdated.add(_CANARIES_READY)
    status["conditions"] = [c for c in status.get("conditions") or () if c["type"] not in outdated]
    worst: tuple[str, str, str] | None = None
    for component in facts.components:
        value, reason, message = _component_condition(facts, component)
        set_condition(
            status, _CONDITIONS[component], value, reason=reason, message=message, now=now
        )
        if value != "True" and (worst is None or value == "False"):
            worst = (value, reason, message)
    if facts.canaries:
        _set_canary_condition(status, facts.canaries, now)
    reachable = bool(facts.rollout.shares)
    set_condition(
        status,
        "IngressReady",
        "True" if reachable else "Unknown",
        reason="" if reachable else "NoReadyRevision",
        message="" if reachable else "no revision is ready to take requests",
        now=now,
    )
    set_route_conditions(
        status,
        {component: _newest(facts, component) for component in facts.components},
        routed=reachable,
        knative=status["deploymentMode"] == KNATIVE,
        now=now,
    )
    value, reason, message = worst or ("True", "", "")
    set_condition(status, "Ready", value, reason=reason, message=message, now=now)


def _set_canary_condition(status: Obj, canaries: Sequence[Canary], now: dt.datetime) -> None:
    """It is no part of Ready: a canary that fails is what canaries are for."""
    said = [
        f"{canary.name}: {model.get('lastFailureInfo', {}).get('message') or 'is being started'}"
        for canary, entry in zip(canaries, status["canaryStatuses"], strict=True)
        if not canary.ready
        for model in [entry["modelStatus"]]
    ]
    set_condition(
        status,
        _CANARIES_READY,
        not said,
        reason="CanariesNotReady" if said else "AllCanariesReady",
        message="; ".join(said),
        now=now,
    )


def _component_condition(facts: Facts, component: ComponentName) -> tuple[str, str, str]:
    """Ready means: every revision that should get requests does."""
    return ("True", "", "") if _rolled_back(facts) else _newest(facts, component)


def _newest(facts: Facts, component: ComponentName) -> tuple[str, str, str]:
    """Whether the newest revision is ready, and why not."""
    latest = deployment_name(name(facts.isvc), component, facts.latest)
    failure = _failure(facts, component)
    if facts.answers(component):
        return (
            "True",
            "",
            f"some pods of {latest} do not answer: {failure.message}" if failure else "",
        )
    if failure is None:
        return "Unknown", "RevisionPending", f"revision {latest} is being started"
    value = "Unknown" if failure.waiting else "False"
    return value, failure.reason, f"revision {latest}: {failure.message}"


def _rolled_back(facts: Facts) -> bool:
    """Whether the newest revision is meant to get no requests, and the one before it does."""
    stable = facts.rollout.stable
    number = int(stable.rpartition("-")[2])
    return (
        facts.rollout.canary_percent == 0
        and number in facts.revisions
        and facts.revisions[number].answers(facts.components)
    )
