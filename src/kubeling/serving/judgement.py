"""Rolls a canary back that fails more often, or answers later, than its service allows.

Annotations of the service set the limits; the inference gateway has counted. The verdict is an
annotation of the canary's Deployment, so it outlives both, and the service's controller gives a
rejected canary no requests. Only a canary is judged: where all requests go to the newest revision
there is nothing to go back to by degrees.
"""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Key, Obj, deletion_requested
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving.canaries import canary_names
from kubeling.serving.canary_limits import Limits
from kubeling.serving.gateway import gateway_of
from kubeling.serving.names import COMPONENT, REJECTED
from kubeling.serving.observation import revision_of
from kubeling.serving.planning import number_in
from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["CanaryJudge"]

_TICK_SECONDS: Final = 2.0


class CanaryJudge:
    """Judges the canaries of the services that ask for it."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._gateway = gateway_of(context)
        self._recorder = context.recorder("inferenceservice-canary-judge")

    def controller(self) -> Controller:
        """The controller."""
        return Controller("canary-judge", INFERENCE_SERVICES, self.reconcile, workers=1)

    async def reconcile(self, key: Key) -> Result | None:
        """Looks at one service; ``None`` if it has no canary to be judged."""
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is None or deletion_requested(isvc) or not self._gateway.serves:
            return None
        limits = Limits.of(objects.annotations(isvc))
        if limits == Limits():
            return None
        canaries = _on_trial(isvc)
        for canary in canaries:
            if reason := limits.verdict(self._gateway.record(key, canary)):
                await self._reject(isvc, canary, reason)
        return Result(_TICK_SECONDS) if canaries else None

    async def _reject(self, isvc: Obj, canary: str, reason: str) -> None:
        deployment = next(
            (
                one
                for one in self._informers.of(DEPLOYMENTS).owned_by(objects.uid(isvc))
                if objects.labels(one).get(COMPONENT) == "predictor"
                and revision_of(one) == number_in(canary)
            ),
            None,
        )
        if deployment is None:
            return
        title, patch = objects.name(deployment), {"metadata": {"annotations": {REJECTED: reason}}}
        try:
            await self._client.patch(DEPLOYMENTS, title, patch, objects.namespace(isvc))
        except NotFound:
            return
        # Whoever gives it another try does not want it judged by this one.
        self._gateway.forget_record(objects.key_of(isvc), canary)
        message = (
            f"{title} gets no more requests: {reason}. Apply a better model, or remove the "
            f"annotation {REJECTED} from the Deployment to try again"
        )
        await self._recorder.warning(isvc, "CanaryRolledBack", message)


def _on_trial(isvc: Obj) -> list[str]:
    """The revisions that have a part of the requests on trial."""
    components = (isvc.get("status") or {}).get("components") or {}
    names = canary_names(isvc)
    shares = [s for s in (components.get("predictor") or {}).get("traffic") or () if s["percent"]]
    split = any(share.get("tag") == "prev" for share in shares)
    return [
        str(share["revisionName"])
        for share in shares
        if share.get("tag") in names or (split and share.get("latestRevision"))
    ]
