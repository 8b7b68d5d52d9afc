"""Rolls a canary back that fails more often, answers later or otherwise than its service allows.

Annotations of the service set the limits; the inference gateway has counted, and monitoring has
sampled the answers, which are compared with those of the stable revision. The verdict is an
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
from kubeling.serving.watching.controller import watcher_of

__all__ = ["CanaryJudge"]

_TICK_SECONDS: Final = 2.0


class CanaryJudge:
    """Judges the canaries of the services that ask for it."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._gateway = gateway_of(context)
        self._watcher = watcher_of(context)
        self._recorder = context.recorder("inferenceservice-canary-judge")

    def controller(self) -> Controller:
        """The controller."""
        return Controller("canary-judge", INFERENCE_SERVICES, self.reconcile, workers=1)

    async def reconcile(self, key: Key) -> Result | None:
        """Looks at one service; ``None`` if it has no canary to be judged."""
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is None or deletion_requested(isvc):
            return None
        limits = Limits.of(objects.annotations(isvc))
        if limits == Limits() or (limits.drift is None and not self._gateway.serves):
            return None
        canaries = _on_trial(isvc)
        for canary in canaries:
            if reason := await self._reason(isvc, limits, canary):
                await self._reject(isvc, canary, reason)
        return Result(_TICK_SECONDS) if canaries else None

    async def _reason(self, isvc: Obj, limits: Limits, canary: str) -> str:
        """Why a canary is rejected, or nothing: what was counted first, then what it answers."""
        if self._gateway.serves:
            record = self._gateway.record(objects.key_of(isvc), canary)
            if reason := limits.verdict(record):
                return reason
        stable = _stable(isvc)
        if limits.drift is None or not stable:
            return ""
        found = await self._watcher.compared(isvc, canary, stable, limits.drift)
        return limits.drifted(stable, found)

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
        self._watcher.forget(isvc, canary)
        message = (
            f"{title} gets no more requests: {reason}. Apply a better model, or remove the "
            f"annotation {REJECTED} from the Deployment to try again"
        )
        await self._recorder.warning(isvc, "CanaryRolledBack", message)


def _stable(isvc: Obj) -> str:
    """The revision that canaries are compared with: the one with most of the requests."""
    trial = _on_trial(isvc)
    components = (isvc.get("status") or {}).get("components") or {}
    shares = (components.get("predictor") or {}).get("traffic") or ()
    kept = [share for share in shares if share["revisionName"] not in trial]
    if not kept:
        return ""
    return str(max(kept, key=lambda share: int(share.get("percent") or 0))["revisionName"])


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
