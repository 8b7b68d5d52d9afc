"""PodDisruptionBudgets: how many pods may be taken away at this moment.

As upstream's disruption controller: a percentage, and ``maxUnavailable``, are of the replicas that
the pods' controllers want, whatever kind they are, so long as it has a scale.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.podstate import is_ready
from kubeling.engine.workloads.resources import POD_DISRUPTION_BUDGETS, resource_of_kind
from kubeling.engine.workloads.rollout import share
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deep_copy,
    deletion_requested,
    generation,
    key_of,
    labels,
    name,
    namespace,
    parse_time,
    set_condition,
)
from kubeling.kube.resources import PODS, REPLICA_SETS

__all__ = ["budget_numbers", "controller", "counts_replicas", "healthy_pods", "still_disrupted"]

_DELETION_SECONDS: Final = 120.0


def controller(context: Context) -> Controller:
    """The controller of budgets' status."""
    reconciler = _Budgets(context)
    return Controller(
        "disruption-controller",
        POD_DISRUPTION_BUDGETS,
        reconciler.reconcile,
        watches={PODS: reconciler.budgets_of},
    )


def counts_replicas(spec: Obj) -> bool:
    """Whether the budget is a share of what the pods' controllers want."""
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def budget_numbers(spec: Obj, expected: int, healthy: int) -> Obj:
    """The numbers of a budget's status; ``expected`` are replicas or, for a plain number, pods."""
    if (most := spec.get("maxUnavailable")) is not None:
        desired = max(0, expected - ceil(share(most, expected)))
    else:
        desired = ceil(share(spec.get("minAvailable", 0), expected))
    return {
        "expectedPods": expected,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": max(0, healthy - desired) if expected else 0,
    }


def still_disrupted(
    noted: Mapping[str, str], pods: Sequence[Obj], now: dt.datetime
) -> dict[str, float]:
    """The pods whose eviction is under way though they do not show it, and for how long yet."""
    present = {name(pod) for pod in pods if not deletion_requested(pod)}
    left = {
        title: _DELETION_SECONDS - (now - parse_time(at)).total_seconds()
        for title, at in noted.items()
        if title in present
    }
    return {title: seconds for title, seconds in left.items() if seconds > 0}


def healthy_pods(pods: Sequence[Obj], disrupted: Mapping[str, object]) -> int:
    """How many pods are ready and stay."""
    return sum(
        is_ready(pod) and not deletion_requested(pod) and name(pod) not in disrupted for pod in pods
    )


class _Budgets:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("controllermanager")
        self._budgets = context.informers.of(POD_DISRUPTION_BUDGETS)
        self._pods = context.informers.of(PODS)
        self._sets = context.informers.of(REPLICA_SETS)

    def budgets_of(self, pod: Obj) -> list[Key]:
        """The budgets whose selectors find the pod."""
        return [
            key_of(budget)
            for budget in self._budgets.list(namespace(pod))
            if selectors.from_object(budget["spec"].get("selector")).matches(labels(pod))
        ]

    async def reconcile(self, key: Key) -> Result | None:
        budget = self._budgets.get(*key)
        if budget is None:
            return None
        selector = selectors.from_object(budget["spec"].get("selector"))
        pods = [pod for pod in self._pods.list(key.namespace) if selector.matches(labels(pod))]
        if not pods:
            await self._recorder.normal(budget, "NoPods", "No matching pods found")
        status: Obj = deep_copy(budget.get("status") or {})
        disrupted = still_disrupted(status.get("disruptedPods") or {}, pods, self._clock.now())
        failure = ""
        try:
            expected = await self._expected(budget, pods)
        except (ApiError, _NoScale) as error:
            failure = str(error)
            message = f"Failed to calculate the number of expected pods: {failure}"
            await self._recorder.warning(budget, "CalculateExpectedPodCountFailed", message)
            status["disruptionsAllowed"] = 0
        else:
            healthy = healthy_pods(pods, disrupted)
            status |= budget_numbers(budget["spec"], expected, healthy)
            status["observedGeneration"] = generation(budget)
            noted = {title: status["disruptedPods"][title] for title in disrupted}
            status.pop("disruptedPods", None)
            if noted:
                status["disruptedPods"] = noted
        self._judge(budget, status, failure)
        await write_status(self._client, POD_DISRUPTION_BUDGETS, budget, status)
        return Result(min(disrupted.values())) if disrupted else None

    def _judge(self, budget: Obj, status: Obj, failure: str) -> None:
        allowed = status["disruptionsAllowed"] > 0
        reason = "SufficientPods" if allowed else "InsufficientPods"
        if failure:
            reason = "SyncFailed"
        set_condition(
            status, "DisruptionAllowed", allowed, reason=reason, message=failure,
            now=self._clock.now(),
        )  # fmt: skip
        for entry in status["conditions"]:
            entry["observedGeneration"] = generation(budget)

    async def _expected(self, budget: Obj, pods: Sequence[Obj]) -> int:
        if not counts_replicas(budget["spec"]):
            return len(pods)
        owners: dict[str, Obj] = {}
        unmanaged = []
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                unmanaged.append(name(pod))
            else:
                top = self._top(namespace(pod), owner)
                owners[top["uid"]] = top
        if unmanaged:
            selector = selectors.from_object(budget["spec"].get("selector"))
            message = (
                f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to "
                "be unmanaged. As a result, the status of the PDB cannot be calculated correctly, "
                "which may result in undefined behavior. To account for these pods please set "
                '".spec.minAvailable" field of the PDB to an integer value.'
            )
            await self._recorder.warning(budget, "UnmanagedPods", message)
        return sum([await self._replicas(namespace(budget), o) for o in owners.values()])

    def _top(self, where: str, owner: Obj) -> Obj:
        """A ReplicaSet's Deployment counts for it: during a rollout there are several of them."""
        if owner["kind"] != "ReplicaSet":
            return owner
        found = self._sets.get(where, owner["name"])
        return (controller_of(found) if found is not None else None) or owner

    async def _replicas(self, where: str, owner: Obj) -> int:
        resource = resource_of_kind(self._context.informers, owner["apiVersion"], owner["kind"])
        if resource is None:
            raise _NoScale(f"found no controller {owner['kind']} {owner['name']}")
        try:
            scale = await self._client.get_scale(resource, owner["name"], where)
        except ApiError as error:
            if error.code not in (404, 405):
                raise
            raise _NoScale(f"{resource} does not implement the scale subresource") from None
        return int(scale["spec"].get("replicas") or 0)


class _NoScale(Exception):
    """Nobody says how many pods there should be."""
