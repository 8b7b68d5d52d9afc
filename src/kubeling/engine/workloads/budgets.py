"""PodDisruptionBudgets: how many pods may be taken away at this moment."""

from __future__ import annotations

from math import ceil

from kubeling.component import Context
from kubeling.engine.workloads.podstate import is_active, is_ready
from kubeling.engine.workloads.resources import POD_DISRUPTION_BUDGETS
from kubeling.engine.workloads.rollout import share
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    generation,
    key_of,
    labels,
    namespace,
    set_condition,
)
from kubeling.kube.resources import PODS

__all__ = ["budget_numbers", "controller"]


def controller(context: Context) -> Controller:
    """The controller of budgets' status."""
    reconciler = _Budgets(context)
    return Controller(
        "disruption-controller",
        POD_DISRUPTION_BUDGETS,
        reconciler.reconcile,
        watches={PODS: reconciler.budgets_of},
    )


def budget_numbers(spec: Obj, expected: int, healthy: int) -> Obj:
    """The numbers of a budget's status."""
    if (most := spec.get("maxUnavailable")) is not None:
        desired = max(0, expected - ceil(share(most, expected)))
    else:
        desired = ceil(share(spec.get("minAvailable", 1), expected))
    return {
        "expectedPods": expected,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": max(0, healthy - desired) if expected else 0,
    }


class _Budgets:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._budgets = context.informers.of(POD_DISRUPTION_BUDGETS)
        self._pods = context.informers.of(PODS)

    def budgets_of(self, pod: Obj) -> list[Key]:
        """The budgets whose selectors find the pod."""
        return [
            key_of(budget)
            for budget in self._budgets.list(namespace(pod))
            if selectors.from_object(budget["spec"].get("selector")).matches(labels(pod))
        ]

    async def reconcile(self, key: Key) -> None:
        budget = self._budgets.get(*key)
        if budget is None:
            return
        selector = selectors.from_object(budget["spec"].get("selector"))
        pods = [
            pod
            for pod in self._pods.list(key.namespace)
            if selector.matches(labels(pod)) and is_active(pod)
        ]
        status: Obj = deep_copy(budget.get("status") or {})
        status |= budget_numbers(budget["spec"], len(pods), sum(map(is_ready, pods)))
        status["observedGeneration"] = generation(budget)
        allowed = status["disruptionsAllowed"] > 0
        reason = "SufficientPods" if allowed else "InsufficientPods"
        set_condition(status, "DisruptionAllowed", allowed, reason=reason, now=self._clock.now())
        await write_status(self._client, POD_DISRUPTION_BUDGETS, budget, status)
