"""What a service's pods cost, and what it saves to let them rest while nobody asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj, labels, namespace, parse_time
from kubeling.kube.quantities import parse_quantity
from kubeling.serving.names import SERVICE
from kubeling.serving.observation import is_at_rest, is_waking
from kubeling.serving.scaling import policy_of

__all__ = ["Cost", "cost_of", "rests"]

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """``state`` is ``awake``, ``waking`` or ``at rest``; ``starts`` is in seconds."""

    state: str
    rests: bool
    low: int
    high: int
    pods: int
    memory_mib: float | None
    starts: float | None
    window: float
    wakes: int


def cost_of(
    isvc: Obj,
    pods: Sequence[Obj],
    deployments: Iterable[Obj],
    used: Iterable[Mapping[str, Any]],
    wakes: int,
) -> Cost:
    """The cost now; ``used`` are the PodMetrics of the pods."""
    policy = policy_of(isvc, "predictor")
    waking = resting = False
    for deployment in deployments:
        waking = waking or is_waking(deployment)
        resting = resting or is_at_rest(deployment)
    state = "waking" if waking else "at rest" if resting and not pods else "awake"
    memory = [
        float(parse_quantity(container["usage"]["memory"]))
        for pod in used
        for container in pod.get("containers") or ()
        if (container.get("usage") or {}).get("memory")
    ]
    started = [seconds for pod in pods if (seconds := _start_of(pod)) is not None]
    return Cost(
        state=state,
        rests=policy.rests,
        low=policy.low,
        high=policy.high,
        pods=len(pods),
        memory_mib=sum(memory) / _MIB if memory else None,
        starts=min(started, default=None),
        window=policy.window + policy.retention,
        wakes=wakes,
    )


def rests(pods: Iterable[Obj], deployments: Iterable[Obj]) -> dict[tuple[str, str], str]:
    """By namespace and name, the services that have no pods because nobody asks them."""
    awake = {_service(pod) for pod in pods}
    found: dict[tuple[str, str], str] = {}
    for deployment in deployments:
        if is_waking(deployment):
            found[_service(deployment)] = "waking"
        elif is_at_rest(deployment) and _service(deployment) not in awake:
            found.setdefault(_service(deployment), "at rest")
    return found


def _service(obj: Obj) -> tuple[str, str]:
    return namespace(obj), labels(obj).get(SERVICE, "")


def _start_of(pod: Obj) -> float | None:
    """How long the pod's server took from its start to its first answer."""
    ready = [c for c in (pod.get("status") or {}).get("conditions") or () if c["type"] == "Ready"]
    since = ready[0].get("lastTransitionTime") if ready and ready[0]["status"] == "True" else None
    begun = [
        running["startedAt"]
        for entry in (pod.get("status") or {}).get("containerStatuses") or ()
        if (running := (entry.get("state") or {}).get("running") or {}).get("startedAt")
    ]
    if not since or not begun:
        return None
    return max(0.0, (parse_time(since) - parse_time(min(begun))).total_seconds())
