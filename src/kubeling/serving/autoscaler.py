"""Scales what only the inference gateway can measure: by requests, and to zero.

It looks at each such service every two seconds, as Knative's autoscaler does, and writes the
Deployments' replicas; :mod:`.controller` leaves those alone within the limits. It runs where the
gateway does: nobody else knows what is asked.
"""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import Key, Obj, deletion_requested, labels, name, namespace, uid
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving import names
from kubeling.serving.canaries import canary_names
from kubeling.serving.gateway import InferenceGateway, gateway_of
from kubeling.serving.names import COMPONENTS
from kubeling.serving.observation import is_at_rest, revision_of
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.scaling import ScalingPolicy, policy_of

__all__ = ["RequestAutoscaler"]

_TICK_SECONDS: Final = 2.0


class RequestAutoscaler:
    """Brings the number of pods of each revision to what is asked of it."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._clock = context.clock
        self._gateway: InferenceGateway = gateway_of(context)

    def controller(self) -> Controller:
        """The controller; a revision that is woken asks to be looked at again."""
        return Controller(
            "inferenceservice-autoscaler",
            INFERENCE_SERVICES,
            self.reconcile,
            owns=(DEPLOYMENTS,),
            workers=1,
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Looks at one service; ``None`` if there is nothing to look at again."""
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is None or deletion_requested(isvc) or not self._gateway.serves:
            return None
        policies = {
            component: policy
            for component in COMPONENTS
            if component in isvc["spec"] and (policy := policy_of(isvc, component)).needs_gateway
        }
        on_trial = canary_names(isvc)
        again = False
        for deployment in self._informers.of(DEPLOYMENTS).owned_by(uid(isvc)):
            if labels(deployment).get(names.VARIANT) in on_trial:
                continue
            for component, policy in policies.items():
                if labels(deployment).get(names.COMPONENT) == component:
                    again |= await self._scale(isvc, deployment, policy)
        return Result(_TICK_SECONDS) if again else None

    async def _scale(self, isvc: Obj, deployment: Obj, policy: ScalingPolicy) -> bool:
        """Scales one component of a revision; whether it has to be looked at again."""
        current = int(deployment["spec"].get("replicas", 1))
        if not current or is_at_rest(deployment):
            return False
        demand = self._gateway.demand(isvc, revision_of(deployment))
        if not (deployment.get("status") or {}).get("readyReplicas"):
            demand.since = max(demand.since, self._clock.monotonic())
            return True
        wanted = demand.replicas(policy, current, self._clock.monotonic())
        if wanted == 0:
            await self._gateway.activator.rest(isvc, deployment)
            return False
        if wanted != current:
            patch = {"spec": {"replicas": wanted}}
            await self._client.patch(DEPLOYMENTS, name(deployment), patch, namespace(deployment))
        return True
