"""The status of an LLM service, derived from what was observed, in one place.

Source: pkg/apis/serving/v1alpha2/llm_inference_service_lifecycle.go: conditions of parts are rolled
up into WorkloadsReady and RouterReady, and those with PresetsCombined into Ready.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kubeling.kube.objects import (
    Obj,
    condition,
    deep_copy,
    generation,
    name,
    namespace,
    remove_condition,
    set_condition,
)
from kubeling.serving import names
from kubeling.serving.llm.obstacles import NOT_SUPPORTED, Obstacle
from kubeling.serving.llm.presets import PORT
from kubeling.serving.llm.workload import deployment_name, service_name
from kubeling.serving.observation import pod_failure

__all__ = ["Facts", "Problem", "status_of"]

_WORKLOADS: Final = (
    "MainWorkloadReady",
    "WorkerWorkloadReady",
    "PrefillWorkloadReady",
    "ScalingReady",
)
_ROUTES: Final = ("GatewaysReady", "HTTPRoutesReady", "SchedulerWorkloadReady")
_TOP: Final = ("PresetsCombined", "WorkloadsReady", "RouterReady")
_ALONE: Final = "GroupReady"
_STOPPED: Final = "stopped by the annotation serving.kserve.io/stop; remove it to start again"


class Problem(NamedTuple):
    """Why something is not as it should be."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a status is derived from; without ``spec`` the configurations do not combine."""

    llm: Obj
    spec: Obj | None
    applied: Sequence[Obj] = ()
    presets: Problem | None = None
    workload: Problem | None = None
    """What keeps the workload from being made."""
    obstacles: Sequence[Obstacle] = ()
    deployment: Obj | None = None
    pods: Sequence[Obj] = field(default=())
    gateway: bool = False
    url: str = ""
    cluster_url: str = ""
    cluster_domain: str = "cluster.local"
    stopped: bool = False


def status_of(facts: Facts, now: dt.datetime) -> Obj:
    """The status to write."""
    status: Obj = deep_copy(facts.llm.get("status") or {})
    status["observedGeneration"] = generation(facts.llm)
    _Conditions(status, now).set_all(facts)
    if facts.presets is not None and not facts.stopped:
        status.pop("appliedConfigs", None)
        return status
    if facts.applied:
        status["appliedConfigs"] = list(facts.applied)
    else:
        status.pop("appliedConfigs", None)
    for key in ("url", "addresses", "workloads"):
        status.pop(key, None)
    if facts.stopped or facts.spec is None:
        return status
    if facts.deployment is not None:
        status["workloads"] = _workloads(facts, facts.deployment)
    status |= _addresses(facts)
    return status


def _workloads(facts: Facts, deployment: Obj) -> Obj:
    ready = (deployment.get("status") or {}).get("availableReplicas") or 0
    primary = {"apiGroup": "apps", "kind": "Deployment", "name": deployment_name(facts.llm)}
    return {
        "primary": {**primary, "readyReplicas": ready},
        "service": {"kind": "Service", "name": service_name(facts.llm)},
    }


def _addresses(facts: Facts) -> Obj:
    """Where it is reached: through the gateway if it has a route, else in the cluster only."""
    model = ((facts.spec or {}).get("model") or {}).get("name") or name(facts.llm)
    if not _has_route(facts):
        host = f"{service_name(facts.llm)}.{namespace(facts.llm)}.svc.{facts.cluster_domain}"
        return {"addresses": [{"url": f"http://{host}:{PORT}"}]}
    if not facts.gateway:
        return {}
    where, title = names.GATEWAY
    origin = {"group": "", "kind": "Service", "name": title, "namespace": where}
    shared = {"origin": origin, "models": [{"name": model}]}
    addresses = [
        {"name": "gateway-external", "url": facts.url, **shared},
        {"name": "gateway-internal", "url": facts.cluster_url, **shared},
    ]
    return {"url": facts.url, "addresses": addresses}


def _has_route(facts: Facts) -> bool:
    router = (facts.spec or {}).get("router") or {}
    return router.get("route") is not None or router.get("ingress") is not None


class _Conditions:
    """Sets each condition once, and drops those that are about nothing."""

    def __init__(self, status: Obj, now: dt.datetime) -> None:
        self._status = status
        self._now = now

    def set_all(self, facts: Facts) -> None:
        self._set("PresetsCombined", None if facts.stopped else facts.presets)
        if facts.presets is None or facts.stopped:
            # With nothing combined, what is known of the rest stays, as upstream leaves it.
            self._set_workloads(facts)
            self._set_routes(facts)
        self._roll_up("Ready", _TOP)

    def _set_workloads(self, facts: Facts) -> None:
        against = {obstacle.condition: obstacle.message for obstacle in facts.obstacles}
        for type_ in (*_WORKLOADS[1:], _ALONE):
            if type_ in against and not facts.stopped:
                self._set(type_, Problem(NOT_SUPPORTED, against[type_]))
            else:
                remove_condition(self._status, [type_])
        self._set(_WORKLOADS[0], _main_problem(facts, against))
        self._roll_up("WorkloadsReady", _WORKLOADS)

    def _set_routes(self, facts: Facts) -> None:
        router = (facts.spec or {}).get("router") or {}
        against = {obstacle.condition: obstacle.message for obstacle in facts.obstacles}
        present = {
            "GatewaysReady": router.get("gateway") is not None,
            "HTTPRoutesReady": _has_route(facts),
            "SchedulerWorkloadReady": router.get("scheduler") is not None,
        }
        for type_ in _ROUTES:
            if not present[type_]:
                remove_condition(self._status, [type_])
            elif facts.stopped:
                self._set(type_, Problem("Stopped", _STOPPED))
            elif type_ in against:
                self._set(type_, Problem(NOT_SUPPORTED, against[type_]))
            elif not facts.gateway:
                self._set(type_, _no_gateway())
            else:
                self._set(type_, None)
        self._roll_up("RouterReady", _ROUTES)

    def _set(self, type_: str, problem: Problem | None) -> None:
        reason, message = problem or ("", "")
        set_condition(
            self._status, type_, problem is None, reason=reason, message=message, now=self._now
        )

    def _roll_up(self, type_: str, parts: Sequence[str]) -> None:
        """False for the first part that is, Unknown for one that nothing is known of."""
        found = [condition({"status": self._status}, part) for part in parts]
        missing = type_ == "Ready" and any(part is None for part in found)
        for wanted in ("False", "Unknown"):
            for part in found:
                if part is not None and part.status == wanted:
                    self._write(type_, wanted, part.reason, part.message)
                    return
        self._write(type_, "Unknown" if missing else "True", "", "")

    def _write(self, type_: str, value: str, reason: str, message: str) -> None:
        set_condition(self._status, type_, value, reason=reason, message=message, now=self._now)


def _main_problem(facts: Facts, against: dict[str, str]) -> Problem | None:
    if facts.stopped:
        return Problem("Stopped", _STOPPED)
    if _WORKLOADS[0] in against:
        return Problem(NOT_SUPPORTED, against[_WORKLOADS[0]])
    if stopping := next((o for o in facts.obstacles if o.stops), None):
        return Problem(NOT_SUPPORTED, stopping.message)
    if facts.workload is not None:
        return facts.workload
    if facts.deployment is None:
        return Problem("DeploymentNotFound", "the Deployment is being made")
    return _of_deployment(facts.deployment, facts.pods)


def _of_deployment(deployment: Obj, pods: Sequence[Obj]) -> Problem | None:
    wanted = deployment["spec"].get("replicas", 1)
    available = condition(deployment, "Available")
    seen = (deployment.get("status") or {}).get("observedGeneration")
    # What was said of an older template is no word on this one.
    known = seen is None or seen >= generation(deployment)
    if available is not None and available.status == "True" and known:
        return None
    if not wanted:
        return None
    for pod in pods:
        if failure := pod_failure(pod):
            return Problem(failure.reason, failure.message)
    refused = condition(deployment, "ReplicaFailure")
    if refused is not None and refused.status == "True":
        return Problem("ReplicaFailure", refused.message)
    ready = (deployment.get("status") or {}).get("readyReplicas") or 0
    return Problem("MinimumReplicasUnavailable", f"{ready} of {wanted} pods are ready")


def _no_gateway() -> Problem:
    service = "/".join(names.GATEWAY)
    return Problem("NoGateway", f"there is no Service {service}, through which requests come")
