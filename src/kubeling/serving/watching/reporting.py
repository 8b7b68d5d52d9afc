"""Says a verdict: as the condition, as an Event when an episode begins or ends, by a run."""

from __future__ import annotations

from typing import Any

from kubeling.component import Context
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj, condition, deep_copy, remove_condition, set_condition
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.watching.retraining import Retraining
from kubeling.serving.watching.verdict import CONDITION, Verdict

__all__ = ["Reporting", "condition_of"]


class Reporting:
    """Writes verdicts to services. Saying one again changes nothing."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("model-monitor")
        self._retraining = Retraining(context)

    async def say(self, isvc: Obj, verdict: Verdict) -> None:
        """Writes the condition, and does what follows from it."""
        before = condition(isvc, CONDITION)
        status: Obj = deep_copy(isvc.get("status") or {})
        if set_condition(
            status,
            CONDITION,
            verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            now=self._clock.now(),
        ):
            try:
                isvc = await self._client.replace_status(
                    INFERENCE_SERVICES, {**isvc, "status": status}
                )
            except NotFound:
                return
            await self._announce(isvc, before.status if before is not None else "", verdict)
        said = condition_of(isvc)
        if verdict.status == "True" and said is not None:
            await self._retraining.start(isvc, said["lastTransitionTime"])

    async def retract(self, isvc: Obj) -> None:
        """Takes the condition away."""
        status: Obj = deep_copy(isvc.get("status") or {})
        remove_condition(status, [CONDITION])
        await self._client.replace_status(INFERENCE_SERVICES, {**isvc, "status": status})

    async def _announce(self, isvc: Obj, before: str, verdict: Verdict) -> None:
        if verdict.status == "True" and before != "True":
            await self._recorder.warning(isvc, "DataDrift", verdict.message)
        elif verdict.status != "True" and before == "True":
            await self._recorder.normal(isvc, "DataDriftEnded", verdict.message)


def condition_of(isvc: Obj) -> dict[str, Any] | None:
    """The condition as it is written, if it is there."""
    conditions = (isvc.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry.get("type") == CONDITION), None)
