"""ReplicaSets, and ReplicationControllers: as many pods as asked for, of one template."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kubeling.component import Context
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.podcontrol import PodControl
from kubeling.engine.workloads.podstate import (
    deletion_cost,
    generated_name,
    is_active,
    is_available,
    is_finished,
    is_ready,
    pod_from_template,
    seconds_until_available,
    worth,
)
from kubeling.engine.workloads.resources import REPLICATION_CONTROLLERS
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    generation,
    key_of,
    labels,
    name,
    remove_condition,
    set_condition,
)
from kubeling.kube.resources import PODS, REPLICA_SETS, Resource
from kubeling.kube.selectors import LabelSelector

__all__ = ["Failure", "controller", "older_controller", "replica_set_status", "surplus"]


def controller(context: Context) -> Controller:
    """The ReplicaSet controller."""
    return _controller(context, "replicaset-controller", REPLICA_SETS)


def older_controller(context: Context) -> Controller:
    """The controller of ReplicationControllers, which are ReplicaSets with plain selectors."""
    return _controller(context, "replication-controller", REPLICATION_CONTROLLERS)


def _controller(context: Context, title: str, resource: Resource) -> Controller:
    reconciler = _ReplicaSets(context, title, resource)
    return Controller(
        title,
        resource,
        reconciler.reconcile,
        owns=(PODS,),
        watches={PODS: reconciler.takers},
    )


def surplus(pods: Iterable[Obj], excess: int, now: dt.datetime) -> list[Obj]:
    """The pods whose loss costs least: not started, not ready, cheap, young."""
    ranked = sorted(pods, key=lambda pod: worth(pod, now, cost=deletion_cost(pod)))
    return ranked[: max(excess, 0)]


def replica_set_status(
    replica_set: Obj,
    pods: Sequence[Obj],
    failure: Failure | None,
    now: dt.datetime,
    terminating: int = 0,
) -> Obj:
    """The status that the active pods amount to; ``failure`` is why some could not be changed."""
    spec = replica_set["spec"]
    wanted = (spec.get("template", {}).get("metadata") or {}).get("labels") or {}
    min_ready = int(spec.get("minReadySeconds") or 0)
    counts = {
        "fullyLabeledReplicas": sum(wanted.items() <= labels(pod).items() for pod in pods),
        "readyReplicas": sum(map(is_ready, pods)),
        "availableReplicas": sum(is_available(pod, min_ready, now) for pod in pods),
    }
    status: Obj = {"replicas": len(pods)}
    status |= {field: count for field, count in counts.items() if count}
    status["terminatingReplicas"] = terminating
    status["observedGeneration"] = generation(replica_set)
    present = deep_copy((replica_set.get("status") or {}).get("conditions") or [])
    status["conditions"] = present
    if failure is None:
        remove_condition(status, ["ReplicaFailure"])
    else:
        reason = "FailedCreate" if failure.creating else "FailedDelete"
        set_condition(
            status, "ReplicaFailure", True, reason=reason, message=str(failure.error), now=now
        )
    if not status["conditions"]:
        del status["conditions"]
    return status


class Failure(NamedTuple):
    """Why pods could not be created or deleted."""

    error: ApiError
    creating: bool


class _ReplicaSets:
    def __init__(self, context: Context, title: str, resource: Resource) -> None:
        self._client = context.client
        self._clock = context.clock
        self._resource = resource
        self._sets = context.informers.of(resource)
        self._pods = context.informers.of(PODS)
        self._control = PodControl(context, title)

    def takers(self, pod: Obj) -> list[Key]:
        """The sets that would take in an orphan."""
        if pod["metadata"].get("ownerReferences"):
            return []
        return [
            key_of(found)
            for found in self._sets.list(pod["metadata"]["namespace"])
            if _selector(found).matches(labels(pod))
        ]

    async def reconcile(self, key: Key) -> Result | None:
        found = self._sets.get(*key)
        if found is None:
            return None
        selector = _selector(found)
        failure: Failure | None = None
        if not deletion_requested(found):
            pods = [
                p for p in await claim(self._client, self._pods, found, selector) if is_active(p)
            ]
            try:
                await self._replicate(found, pods)
            except ApiError as error:
                creating = len(pods) < int(found["spec"].get("replicas", 1))
                failure = Failure(error, creating)
        now = self._clock.now()
        owned = self._pods.owned_by(found["metadata"]["uid"])
        pods = [pod for pod in owned if is_active(pod) and selector.matches(labels(pod))]
        ending = sum(deletion_requested(pod) and not is_finished(pod) for pod in owned)
        status = replica_set_status(found, pods, failure, now, ending)
        if self._resource != REPLICA_SETS:
            del status["terminatingReplicas"]
        await write_status(self._client, self._resource, found, status)
        if failure is not None:
            raise failure.error
        return _again(pods, int(found["spec"].get("minReadySeconds") or 0), now)

    async def _replicate(self, found: Obj, pods: list[Obj]) -> None:
        wanted = int(found["spec"].get("replicas", 1))
        missing = wanted - len(pods)
        if missing > 0:
            template = found["spec"]["template"]
            fresh = [
                pod_from_template(template, found, generated_name(f"{name(found)}-"))
                for _ in range(missing)
            ]
            await self._control.create_all(found, fresh)
        elif missing < 0:
            await self._control.delete_all(found, surplus(pods, -missing, self._clock.now()))


def _selector(found: Obj) -> LabelSelector:
    selector = found["spec"].get("selector") or {}
    if found["kind"] == "ReplicationController":
        selector = {"matchLabels": selector}
    return selectors.from_object(selector)


def _again(pods: Iterable[Obj], min_ready: int, now: dt.datetime) -> Result | None:
    waits = [seconds_until_available(pod, min_ready, now) for pod in pods]
    pending = [wait for wait in waits if wait]
    return Result(min(pending)) if pending else None
