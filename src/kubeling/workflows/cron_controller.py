"""Carries out what :mod:`kubeling.workflows.cron` decides."""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, BadRequest, Forbidden, Invalid
from kubeling.kube.objects import Key, Obj, deletion_requested, name, namespace, uid
from kubeling.workflows.cron import CronPlan, fail_submission, plan
from kubeling.workflows.resources import CRON_WORKFLOWS, WORKFLOWS

__all__ = ["CronReconciler", "cron_controller"]

_TICK: Final = 60.0


def cron_controller(context: Context) -> Controller:
    """The controller of CronWorkflows."""
    reconciler = CronReconciler(context)
    return Controller("cronworkflow", CRON_WORKFLOWS, reconciler.reconcile, owns=[WORKFLOWS])


class CronReconciler:
    """Starts Workflows at their times."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._crons = context.informers.of(CRON_WORKFLOWS)
        self._workflows = context.informers.of(WORKFLOWS)
        self._recorder = context.recorder("cronworkflow-controller")
        self._looked_at: dict[str, dt.datetime] = {}

    async def reconcile(self, key: Key) -> Result | None:
        """Does what is due for one CronWorkflow."""
        cron = self._crons.get(*key)
        if cron is None or deletion_requested(cron):
            return None
        now = self._clock.now()
        looked_at = self._looked_at.get(uid(cron))
        wanted = plan(cron, self._workflows.owned_by(uid(cron)), now, looked_at)
        if wanted.looked_at is not None:
            self._looked_at[uid(cron)] = wanted.looked_at
        where = namespace(cron)
        for workflow in wanted.terminate:
            patch = {"spec": {"shutdown": "Terminate"}}
            await self._client.patch(WORKFLOWS, workflow, patch, where)
        if wanted.create is not None:
            await self._create(cron, wanted)
        for workflow in wanted.delete:
            await self._client.delete(WORKFLOWS, workflow, where, missing_ok=True)
        if wanted.labels or wanted.annotations:
            metadata = {"labels": wanted.labels, "annotations": wanted.annotations}
            await self._client.patch(CRON_WORKFLOWS, name(cron), {"metadata": metadata}, where)
        if any((cron.get("status") or {}).get(k) != v for k, v in wanted.status.items()):
            await self._client.patch_status(CRON_WORKFLOWS, name(cron), wanted.status, where)
        if wanted.problem:
            await self._recorder.warning(cron, "InvalidExpression", wanted.problem)
        if wanted.next is None:
            return None
        # A machine that slept wakes to a wrong timer, so times are looked at now and then.
        return Result(min((wanted.next - now).total_seconds(), _TICK))

    async def _create(self, cron: Obj, wanted: CronPlan) -> None:
        workflow: Obj = wanted.create or {}
        try:
            await self._client.create(WORKFLOWS, workflow)
        except AlreadyExists:
            return
        except (BadRequest, Forbidden, Invalid) as error:
            message = f"Failed to submit Workflow: {error}"
            wanted.status["active"] = wanted.status["active"][:-1]
            fail_submission(wanted.status, message, self._clock.now())
            await self._recorder.warning(cron, "FailedToSubmit", message)
            return
        await self._recorder.normal(cron, "WorkflowCreated", f"started {name(workflow)}")
