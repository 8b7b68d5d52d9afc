"""``pods/binding`` and ``pods/eviction``."""

from __future__ import annotations

import math
from typing import Final

from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.decoding import typed
from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.kube import selectors
from kubeling.kube.errors import BadRequest, Conflict, TooManyRequests
from kubeling.kube.objects import Obj, deep_copy, is_condition_true, labels, set_condition

__all__ = ["PodHandlers"]

_OVER: Final = ("Succeeded", "Failed")


class PodHandlers:
    """What can be posted to a pod besides the pod itself."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def bind(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """Assigns a pod to a node."""
        body = typed(read_object(request) or {}, "io.k8s.api.core.v1.Binding")
        node = (body.get("target") or {}).get("name")
        if not node:
            raise BadRequest("target.name: Required value: name the node")
        now = self._registry.clock.now()

        def transform(pod: Obj) -> Obj:
            if pod["spec"].get("nodeName"):
                why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
                raise Conflict.of("", "pods/binding", target.name, why)
            pod["spec"]["nodeName"] = node
            set_condition(pod.setdefault("status", {}), "PodScheduled", True, now=now)
            return pod

        options = WriteOptions.parse(request.query, request.user, target.subresource)
        await self._registry.update(served, target.namespace, target.name, transform, options)
        return ObjectAnswer(_success(), 201)

    async def evict(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """Deletes a pod where its disruption budgets allow it."""
        body = typed(read_object(request) or {}, "io.k8s.api.policy.v1.Eviction")
        pod = self._registry.get(served, target.namespace, target.name)
        budgets = _budgets(self._registry.store, pod)
        for budget in budgets:
            if _allowed(self._registry.store, budget) < 1:
                name = budget["metadata"]["name"]
                message = f"The disruption budget {name} does not allow another disruption now"
                raise TooManyRequests(
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    details={
                        "causes": [{"reason": "DisruptionBudget", "message": message}],
                        "retryAfterSeconds": 10,
                    },
                )
        options = DeleteOptions.parse(body.get("deleteOptions"), request.query)
        if not options.dry_run and (pod.get("status") or {}).get("phase") not in _OVER:
            await self._mark_as_disrupted(served, target, request)
        await self._registry.delete(served, target.namespace, target.name, options)
        return ObjectAnswer(_success(), 201)

    async def _mark_as_disrupted(self, served: Served, target: Target, request: ApiRequest) -> None:
        """A Job can tell by the condition that the pod did not fail by itself."""
        now = self._registry.clock.now()

        def transform(pod: Obj) -> Obj:
            status = deep_copy(pod.get("status") or {})
            set_condition(
                status, "DisruptionTarget", True, reason="EvictionByEvictionAPI",
                message="Eviction API: evicting", now=now,
            )  # fmt: skip
            return {**pod, "status": status}

        options = WriteOptions(request.user, subresource="status")
        await self._registry.update(served, target.namespace, target.name, transform, options)


def _budgets(store: Store, pod: Obj) -> list[Obj]:
    namespace = pod["metadata"]["namespace"]
    return [
        record.obj
        for record in store.list("policy/poddisruptionbudgets", namespace)
        if _selected(record.obj, pod)
    ]


def _selected(budget: Obj, pod: Obj) -> bool:
    selector = selectors.from_object((budget.get("spec") or {}).get("selector"))
    return selector.matches(labels(pod))


def _allowed(store: Store, budget: Obj) -> int:
    """How many more of the budget's pods may go now, counted from the pods themselves."""
    namespace, spec = budget["metadata"]["namespace"], budget.get("spec") or {}
    pods = [r.obj for r in store.list("/pods", namespace) if _selected(budget, r.obj)]
    healthy = sum(is_condition_true(pod, "Ready") for pod in pods)
    if (least := spec.get("minAvailable")) is not None:
        return healthy - _amount(least, len(pods))
    most = spec.get("maxUnavailable", 1)
    return healthy - (len(pods) - _amount(most, len(pods)))


def _amount(value: int | str, total: int) -> int:
    """A number, or a percentage of the whole, rounded up."""
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(int(value[:-1]) * total / 100)
    return int(value)


def _success() -> Obj:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
