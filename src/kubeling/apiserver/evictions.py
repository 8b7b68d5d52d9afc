"""``pods/eviction``: a deletion that disruption budgets have a say in.

As upstream's ``eviction.go``: what a budget allows is in its status, which the disruption
controller keeps; an eviction takes one from it and notes the pod, so that of two evictions at the
same moment only one gets the last that is allowed.
"""

from __future__ import annotations

from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.decoding import typed
from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.kube import selectors
from kubeling.kube.errors import BadRequest, Forbidden, InternalError, TooManyRequests
from kubeling.kube.objects import (
    Obj,
    deep_copy,
    deletion_requested,
    format_time,
    generation,
    is_condition_true,
    labels,
    name,
    namespace,
    set_condition,
)

__all__ = ["Evictions"]

_WOULD_VIOLATE = "Cannot evict pod as it would violate the pod's disruption budget."
_MOST_DISRUPTED = 2000
_RETRY_SECONDS = 10


class Evictions:
    """Answers them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        body = typed(read_object(request) or {}, "io.k8s.api.policy.v1.Eviction")
        if (body.get("metadata") or {}).get("name") != target.name:
            raise BadRequest("name in URL does not match name in Eviction object")
        pod = self._registry.get(served, target.namespace, target.name)
        options = DeleteOptions.parse(body.get("deleteOptions"), request.query)
        if not _is_free(pod):
            await self._ask_budget(pod, dry_run=options.dry_run)
        if not options.dry_run:
            await self._mark(served, pod)
        await self._registry.delete(served, target.namespace, target.name, options)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return ObjectAnswer({**status, "code": 201}, 201)

    async def _ask_budget(self, pod: Obj, *, dry_run: bool) -> None:
        budgets = self._budgets(pod)
        if len(budgets) > 1:
            raise InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                "does not support."
            )
        if not budgets or _may_go_unhealthy(pod, budgets[0]):
            return
        served = self._registry.catalog.of_storage("policy/poddisruptionbudgets")
        assert served is not None
        now = format_time(self._registry.clock.now())

        def take_one(budget: Obj) -> Obj:
            _require_allowed(budget)
            status: Obj = deep_copy(budget["status"])
            status["disruptionsAllowed"] -= 1
            status.setdefault("disruptedPods", {})[name(pod)] = now
            if not status["disruptionsAllowed"]:
                set_condition(
                    status, "DisruptionAllowed", False, reason="InsufficientPods",
                    now=self._registry.clock.now(),
                )  # fmt: skip
            return {**budget, "status": status}

        title = name(budgets[0])
        options = WriteOptions(subresource="status", internal=True, dry_run=dry_run)
        await self._registry.update(served, namespace(pod), title, take_one, options)

    def _budgets(self, pod: Obj) -> list[Obj]:
        return [
            record.obj
            for record in self._registry.store.list("policy/poddisruptionbudgets", namespace(pod))
            if selectors.from_object((record.obj.get("spec") or {}).get("selector")).matches(
                labels(pod)
            )
        ]

    async def _mark(self, served: Served, pod: Obj) -> None:
        """Says in the pod's status why it goes."""
        now = self._registry.clock.now()

        def transform(found: Obj) -> Obj:
            status: Obj = deep_copy(found.get("status") or {})
            set_condition(
                status,
                "DisruptionTarget",
                True,
                reason="EvictionByEvictionAPI",
                message="Eviction API: evicting",
                now=now,
            )
            return {**found, "status": status}

        options = WriteOptions(subresource="status", internal=True)
        await self._registry.update(served, namespace(pod), name(pod), transform, options)


def _is_free(pod: Obj) -> bool:
    """Whether the pod serves nobody, so that no budget is asked."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or deletion_requested(pod)


def _may_go_unhealthy(pod: Obj, budget: Obj) -> bool:
    """Whether a pod that is not ready may go without being counted."""
    if is_condition_true(pod, "Ready"):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = int(status.get("desiredHealthy") or 0)
    return 0 < desired <= int(status.get("currentHealthy") or 0)


def _require_allowed(budget: Obj) -> None:
    status = budget.get("status") or {}
    allowed = int(status.get("disruptionsAllowed") or 0)
    if int(status.get("observedGeneration") or 0) < generation(budget):
        why = f"The disruption budget {name(budget)} is still being processed by the server."
        raise _refusal(why, _RETRY_SECONDS)
    if allowed < 0:
        why = "pdb disruptions allowed is negative"
        raise Forbidden.of("policy", "poddisruptionbudgets", name(budget), why)
    if len(status.get("disruptedPods") or {}) > _MOST_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise Forbidden.of("policy", "poddisruptionbudgets", name(budget), why)
    if allowed == 0:
        why = (
            f"The disruption budget {name(budget)} needs {status.get('desiredHealthy', 0)} healthy "
            f"pods and has {status.get('currentHealthy', 0)} currently"
        )
        raise _refusal(why, 0)


def _refusal(why: str, seconds: int) -> TooManyRequests:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if seconds:
        details["retryAfterSeconds"] = seconds
    return TooManyRequests(_WOULD_VIOLATE, details=details)
